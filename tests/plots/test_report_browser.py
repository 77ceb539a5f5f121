"""In a real browser the page draws, filters, sorts, opens rows, and runs nothing that a table or a model wrote."""

import shutil
import time
from collections.abc import Iterator
from typing import Any

import pytest

from retrieval_gap.plots.report import write_report
from retrieval_gap.plots.report.columns import COLUMNS
from tests.plots.report_pages import HOSTILE, sources

pytest.importorskip("vl_convert", reason="the report needs vl-convert-python")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium with chromedriver here")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


class Page:
    """A page in the browser, by default as wide as on a desktop."""

    def __init__(self, driver: Any, address: str) -> None:
        self.driver, self.address = driver, address

    def open(self, *, width: int = 1280, scheme: str = "light") -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(self.address)
        self.until("return document.body.dataset.drawn === '1'")

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def until(self, script: str) -> None:
        deadline = time.monotonic() + 120
        while not self.run(script):
            assert time.monotonic() < deadline, f"never true: {script}; {self.driver.get_log('browser')}"
            time.sleep(0.05)

    def choose(self, name: str, value: str) -> None:
        """Sets a filter as a user does, and waits for the charts."""
        turn = self.run("return Number(document.body.dataset.drawn)")
        field = f"document.querySelector('#filters [name={name}]')"
        self.run(f"{field}.value = '{value}'; {field}.dispatchEvent(new Event('input', {{bubbles: true}}))")
        self.until(f"return Number(document.body.dataset.drawn) > {turn}")

    def column(self, heading: str) -> list[str]:
        """The text of a column's fields in the rows that are shown, from the top."""
        return self.run(
            f"""const headings = [...document.querySelectorAll('#rows thead th')].map((th) => th.textContent.trim());
            const place = headings.indexOf('{heading}');
            return [...document.querySelectorAll('#rows tbody tr[data-i]')].filter((tr) => tr.offsetParent !== null)
              .map((tr) => tr.cells[place].firstChild?.textContent ?? '');"""
        )

    def marks(self) -> int:
        """The number of points in the charts of accuracy."""
        return self.run("return document.querySelectorAll('#accuracy-panels .mark-symbol path').length")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("page")
    runs, table = sources(folder)
    written = write_report(folder / "out", [runs], [table])
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    try:
        yield Page(driver, written.as_uri())
    finally:
        driver.quit()


@pytest.fixture
def opened(page: Page) -> Page:
    page.open()
    return page


def test_every_row_is_a_point_and_the_browser_logs_nothing(opened: Page) -> None:
    assert opened.marks() == len(opened.column("task")) == 16
    assert opened.run("return document.querySelectorAll('#curve-panels .mark-line path').length") == 2
    assert opened.driver.get_log("browser") == []
    fetched = opened.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in fetched if not name.startswith("data:")] == []


def test_filters_choose_rows_and_redraw_the_charts(opened: Page) -> None:
    opened.choose("arch", "lstm")
    assert set(opened.column("architecture")) == {"LSTM"}
    assert opened.marks() == len(opened.column("task")) == 6
    opened.choose("mode", "cot")
    opened.choose("n", "16")
    assert opened.column("view") == ["Chain of thought"]
    assert opened.run("return document.getElementById('count').textContent") == "1 of 16 models"
    opened.run("document.querySelector('#filters [type=reset]').click()")
    opened.until("return document.querySelectorAll('#rows tbody tr[data-i]:not([hidden])').length === 16")


def test_the_search_looks_into_every_column(opened: Page) -> None:
    opened.choose("search", "VALUES=4")
    assert opened.column("task") == ["index"]
    opened.choose("search", "no such thing")
    assert opened.column("task") == []
    assert opened.marks() == 0


def test_headings_sort_by_number_from_the_keyboard_too(opened: Page) -> None:
    heading = opened.driver.find_element("xpath", "//table[@id='rows']//th[button='accuracy']")
    heading.find_element("tag name", "button").send_keys("\ue007")  # Enter
    values = [float(text) for text in opened.column("accuracy")]
    assert values == sorted(values)
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.find_element("tag name", "button").click()
    assert [float(text) for text in opened.column("accuracy")] == values[::-1]
    opened.driver.find_element("xpath", "//th/button[text()='n']").click()
    assert heading.get_attribute("aria-sort") is None
    assert [int(text) for text in opened.column("n")] == sorted(int(text) for text in opened.column("n"))


def test_a_row_opens_to_all_its_values(opened: Page) -> None:
    opened.choose("task", "index")
    opened.driver.find_element("css selector", "tr[data-i]:not([hidden]) .open").click()
    told = opened.driver.find_element("css selector", ".detail").text
    assert told.index("family") < told.index("accuracy") < told.index("hardware")
    for word in ("0.0003", "Abacus, 2 cores", "abcdefabcdef", "2.13.0+cpu", "table.csv, line 14", "no curve kept"):
        assert word in told
    opened.driver.find_element("css selector", "tr[data-i]:not([hidden]) .open").click()
    assert not opened.driver.find_elements("css selector", ".detail")


def test_samples_show_who_wrote_each_piece_and_where_they_leave_the_gold_trace(opened: Page) -> None:
    pieces = "return [...document.querySelectorAll('.sample .piece')].map((e) => [e.className, e.textContent])"
    assert opened.run(pieces)[:6] == [
        ["piece m", "4"],
        ["piece s", "[STARTSEARCH]"],
        ["piece s off first", "7"],
        ["piece s off", "- [ENDSEARCH]"],
        ["piece r off", "[FAILED]"],
        ["piece m off", "[EOS] [TRUE]"],
    ]
    run = "const run = document.getElementById('run'); run.selectedIndex = 1; run.dispatchEvent(new Event('change'));"
    opened.run(run)
    assert "as the gold trace" in opened.run("return document.querySelector('.sample').textContent")


def test_a_memory_is_shown_by_step_with_its_budget_and_what_changed(opened: Page) -> None:
    part = "document.querySelector('#memory {}').{}"
    assert opened.run(f"return {part.format('.carried', 'textContent')}") == "History:\nStatus:\nWatch:"
    assert opened.run(f"return {part.format('meter', 'max')}") == 24
    assert opened.run(f"return {part.format('.came', 'textContent')}").startswith("+ - ")
    slider = opened.driver.find_element("id", "memory-step")
    slider.send_keys("\ue014")  # the arrow to the right
    assert opened.run("return document.querySelector('#memory h3').textContent").startswith("step 1")
    carried = opened.run(f"return {part.format('.carried', 'textContent')}")
    assert carried.startswith("History:\n- ")
    assert opened.run(f"return {part.format('meter', 'value')}") > 6
    assert opened.run("return document.querySelectorAll('#memory-strip span').length") == 6
    assert (
        opened.run("return [...document.querySelectorAll('#memory-strip span')].findIndex((e) => e.matches('.here'))")
        == 1
    )


def test_another_stream_or_run_begins_at_its_first_step(opened: Page) -> None:
    choose = "const f = document.getElementById('{}'); f.selectedIndex = 1; f.dispatchEvent(new Event('change'));"
    first = "return document.getElementById('memory').textContent"
    before = opened.run(first)
    opened.driver.find_element("id", "memory-step").send_keys("\ue014")
    opened.run(choose.format("memory-stream"))
    assert opened.run("return document.getElementById('memory-step').value") == "0"
    assert opened.run(first) != before
    opened.run(choose.format("memory-run"))
    assert opened.run("return document.querySelector('#memory .carried').textContent") == "nothing"
    assert not opened.driver.find_elements("css selector", "#memory meter")


def test_text_from_a_table_or_a_model_never_runs(opened: Page) -> None:
    assert HOSTILE in opened.run("return document.getElementById('traces').textContent")
    assert HOSTILE in opened.run("return document.getElementById('memory').textContent")
    assert HOSTILE in opened.column("task")
    for button in opened.driver.find_elements("css selector", ".open"):
        opened.driver.execute_script("arguments[0].click()", button)
    opened.choose("search", "hacked")
    assert opened.run("return window.hacked") is None
    assert opened.run("return document.querySelectorAll('main img:not([src^=\"data:image/svg\"])').length") == 0
    assert opened.driver.get_log("browser") == []


def test_a_script_inserted_into_the_page_does_not_run(opened: Page) -> None:
    opened.run(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 1'; document.body.append(s);"
        "const i = document.createElement('div'); i.innerHTML = '<img src=x onerror=\"window.hacked = 1\">';"
        "document.body.append(i);"
    )
    time.sleep(0.2)
    assert opened.run("return window.hacked") is None
    assert any("Content Security Policy" in entry["message"] for entry in opened.driver.get_log("browser"))


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_does_not_scroll_sideways(width: int, page: Page) -> None:
    page.open(width=width)
    for button in page.driver.find_elements("css selector", ".open"):
        page.driver.execute_script("arguments[0].click()", button)
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.marks() == 16


def test_a_narrow_screen_shows_the_main_columns_and_the_rest_on_request(page: Page) -> None:
    page.open(width=390)
    page.choose("search", "Abacus")  # without the row whose names are long on purpose
    shown = """const box = document.getElementById('rows').parentNode.getBoundingClientRect();
        return [...document.querySelectorAll('#rows thead th')].filter((th) => th.offsetParent !== null)
          .filter((th) => th.getBoundingClientRect().right <= box.right + 1).map((th) => th.textContent.trim())"""
    assert page.run(shown)[1:] == ["task", "view", "n", "architecture", "size", "accuracy"]
    page.driver.find_element("id", "every").click()
    headings = page.run(
        "return [...document.querySelectorAll('#rows thead th')].filter((th) => th.offsetParent).length"
    )
    assert headings == 1 + len(COLUMNS)


def test_chance_is_drawn_and_sizes_are_told_apart(page: Page) -> None:
    page.open()
    page.choose("task", "istree")
    strokes = page.run("return document.querySelectorAll('#accuracy-panels .mark-rect path').length")
    assert strokes == len(page.column("task"))
    rows = "JSON.parse(document.getElementById('data').textContent).rows"
    assert page.run(f"return {rows}.filter((row) => row.task === 'istree').every((row) => row.chance === 0.5)")
    page.choose("task", "")
    paths = "return [...document.querySelectorAll('#accuracy-panels .mark-symbol path')]"
    sizes = page.run(f"{paths}.map((path) => Math.round(path.getBBox().width))")
    assert len(set(sizes)) > 1


def test_learning_curves_have_their_accuracies_and_a_log_scale_of_samples(opened: Page) -> None:
    assert opened.run("return document.querySelectorAll('#learned-panels .mark-line path').length") == 2
    ticks = """return [...document.querySelectorAll('#curve-panels .role-axis-label text')]
        .map((text) => text.textContent).filter((text) => ['10', '100', '1k'].includes(text))"""
    assert {"100"} <= set(opened.run(ticks))


def test_light_and_dark_schemes_both_have_contrast(page: Page) -> None:
    part = "getComputedStyle(document.querySelector('{}')).{}.match(/\\d+/g).slice(0, 3).map(Number)"
    papers, contrasts = [], {}
    for scheme in ("light", "dark"):
        page.open(scheme=scheme)
        papers.append(page.run(f"return {part.format('body', 'backgroundColor')}"))
        for place, behind in (("body", "body"), (".soft", "body"), (".s", ".s"), (".r", ".r"), (".g", ".g")):
            ink = page.run(f"return {part.format(place, 'color')}")
            contrasts[scheme, place] = contrast(ink, page.run(f"return {part.format(behind, 'backgroundColor')}"))
    assert sum(papers[0]) > 600 > 150 > sum(papers[1])
    assert min(contrasts.values()) >= 4.5, contrasts


def contrast(ink: list[int], paper: list[int]) -> float:
    """The contrast ratio of WCAG 2, which asks for 4.5 or more."""

    def luminance(colour: list[int]) -> float:
        parts = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    dark, light = sorted([luminance(ink), luminance(paper)])
    return (light + 0.05) / (dark + 0.05)
