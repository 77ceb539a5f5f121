"""Readers give the steps of their file and report what is wrong with it."""

import csv
import gzip
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.streams.clinical import Clinical
from retrieval_gap.tasks.streams.finance import Finance
from retrieval_gap.tasks.streams.stream import StreamConfig
from retrieval_gap.tasks.streams.weather import Weather, phrase
from tests.real_data import real
from tests.tasks.streams.files import (
    DAILY,
    MIMIC,
    MONTHLY,
    SEATTLE,
    SZEGED,
    WEATHER_HEADER,
    clinic,
    weather_day,
    written,
)


def share(values: list[bool]) -> float:
    return sum(values) / len(values)


def test_the_floors_of_the_whole_files_match_those_counted_by_hand():
    """As in the data's README: sky, sentence and mean temperature as yesterday."""
    seattle, new_york = (Weather(StreamConfig(data=real(SEATTLE), steps=0)).stream(i).steps for i in range(2))
    for steps, expected in ((seattle, 0.632), (new_york, 0.551)):
        assert share([s.truth is not None and s.now["sky"] == s.truth["sky"] for s in steps]) == pytest.approx(
            expected, abs=6e-4
        )
    szeged = Weather(StreamConfig(data=real(SZEGED), steps=0)).stream(0).steps
    truths = [(step.now, step.truth) for step in szeged if step.truth is not None]
    assert share([now["text"] == truth["text"] for now, truth in truths]) == pytest.approx(0.155, abs=6e-4)
    assert share([now["sky"] == truth["sky"] for now, truth in truths]) == pytest.approx(0.553, abs=1e-3)
    errors = [abs(float(str(now["temperature"])) - float(str(truth["temperature"]))) for now, truth in truths]
    assert sum(errors) / len(errors) == pytest.approx(1.63, abs=5e-3)


def test_a_stream_of_as_many_steps_as_a_series_has_is_available_once(tmp_path: Path):
    lines = [weather_day(day, "rain" if day % 3 else "sun") for day in range(1, 11)]
    path = written(tmp_path, "w.csv", WEATHER_HEADER, *lines)
    assert [Weather(StreamConfig(data=path, steps=steps)).available for steps in (0, 8, 9, 10)] == [1, None, 1, 1]
    with pytest.raises(TaskError, match="with --steps 9 there are 1 streams, no stream 1"):
        Weather(StreamConfig(data=path, steps=9)).stream(1)
    daily = real(DAILY)
    whole = len(Finance(StreamConfig(data=daily, steps=0)).stream(0).steps)
    found = [Finance(StreamConfig(data=daily, steps=steps)).available for steps in (whole - 1, whole, whole + 9)]
    assert found == [None, 1, 1]


def test_every_truth_of_the_weather_is_the_next_days_row():
    with real(SEATTLE).open() as file:
        rows = {(row["location"], row["date"]): row for row in csv.DictReader(file)}
    benchmark = Weather(StreamConfig(data=real(SEATTLE), steps=50, seed=1))
    for number in range(4):
        stream = benchmark.stream(number)
        place = stream.name.partition(" from ")[0]
        for step in stream.steps:
            tomorrow = (date.fromisoformat(str(step.time)) + timedelta(days=1)).isoformat()
            assert step.known_after == tomorrow
            assert step.truth is not None
            assert step.truth["sky"] == rows[place, tomorrow]["weather"]
            assert step.truth["temperature"] == float(rows[place, tomorrow]["temp_max"])
            assert step.input["sky"] == rows[place, str(step.time)]["weather"]


@pytest.mark.parametrize(("name", "column", "when"), [(DAILY, "close", "date"), (MONTHLY, "SP500", "Date")])
def test_every_change_of_the_index_matches_the_file(name: str, column: str, when: str):
    with real(name).open() as file:
        rows = list(csv.DictReader(file))
    changes = {
        before[when]: 100 * (float(after[column]) / float(before[column]) - 1) for before, after in pairwise(rows)
    }
    steps = Finance(StreamConfig(data=real(name), steps=0)).stream(0).steps
    assert len(steps) == len(rows) - 2
    for step in steps:
        assert step.truth is not None
        assert step.truth["change"] == pytest.approx(changes[step.input["date"]])
        assert step.truth["direction"] == ("up" if changes[step.input["date"]] > 0 else "down")
        assert str(step.known_after) > str(step.time) >= step.input["date"]


def test_the_errors_of_predicting_no_change_of_the_index_match_those_counted_by_hand():
    steps = Finance(StreamConfig(data=real(DAILY), steps=0)).stream(0).steps
    changes = [float(str(step.truth["change"])) for step in steps if step.truth is not None]
    assert sum(change**2 for change in changes) / len(changes) == pytest.approx(1.570, abs=5e-3)
    assert sum(map(abs, changes)) / len(changes) == pytest.approx(0.813, abs=2e-3)


def test_a_month_is_known_at_its_end_and_nothing_that_was_published_later_is_shown():
    step = Finance(StreamConfig(data=real(MONTHLY), steps=0)).stream(0).steps[0]
    assert (step.input["date"], step.time, step.known_after) == ("1871-02-01", "1871-02-28", "1871-03-31")
    assert set(step.input) == {"date", "change %", "mean price of the month", "long interest rate %"}


def test_every_admission_of_the_demo_has_its_diagnoses_and_shows_nothing_of_its_end():
    benchmark = Clinical(StreamConfig(data=real(MIMIC), steps=0))
    assert benchmark.available == 48  # patients of two or more admissions
    assert any("52 patients" in line for line in benchmark.left_out)
    with (real(MIMIC) / "d_icd_diagnoses.csv").open() as file:
        titles = {row["long_title"] for row in csv.DictReader(file)}
    with (real(MIMIC) / "diagnoses_icd.csv").open() as file:
        codes = {row["icd_code"] for row in csv.DictReader(file)}
    steps = [step for number in range(48) for step in benchmark.stream(number).steps]
    assert len(steps) == 275 - 52
    for step in steps:
        assert step.truth is not None
        assert set(step.truth["diagnoses"]) <= titles | codes  # type: ignore[arg-type]
        assert set(step.input) <= {"admission", "from", "sex", "age", "days since the last discharge"}


def test_a_code_keeps_its_leading_zero_and_the_main_diagnosis_comes_first(tmp_path: Path):
    stream = Clinical(StreamConfig(data=clinic(tmp_path))).stream(0)
    assert [step.truth for step in stream.steps] == [
        {"diagnoses": ("Sepsis", "Hypertension")},
        {"diagnoses": ("Sepsis",)},
        {"diagnoses": ("Hypertension",)},
    ]
    assert stream.steps[1].input["days since the last discharge"] == "55"
    assert stream.steps[2].input["age"] == "61"


def test_a_code_that_lost_its_zero_is_refused(tmp_path: Path):
    with pytest.raises(TaskError, match=r"line 3: the ICD-9 code 389 has lost its leading zeros"):
        Clinical(StreamConfig(data=clinic(tmp_path, code="389")))


def test_an_admission_before_the_last_discharge_is_left_out(tmp_path: Path):
    benchmark = Clinical(StreamConfig(data=clinic(tmp_path, later="2150-01-04 00:00:00")))
    assert len(benchmark.stream(0).steps) == 2
    assert any("begin before the last one ended" in line for line in benchmark.left_out)


def test_gzipped_tables_are_read_as_well(tmp_path: Path):
    plain = Clinical(StreamConfig(data=clinic(tmp_path))).stream(0)
    for path in list(tmp_path.glob("*.csv")):
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert Clinical(StreamConfig(data=tmp_path)).stream(0) == plain


def weather(path: Path) -> Weather:
    return Weather(StreamConfig(data=path, steps=0))


def test_bad_rows_are_left_out_and_reported(tmp_path: Path):
    path = written(
        tmp_path,
        "w.csv",
        WEATHER_HEADER,
        weather_day(2),
        weather_day(1),  # wrong order
        weather_day(3),
        weather_day(3),  # a repeat
        weather_day(4, high="nan"),
        weather_day(5),
        weather_day(6, sky=""),
        weather_day(7),
        weather_day(8),
        weather_day(8, sky="rain"),  # another row for the same day
        "Bergen,2020-01-09,0.0",
        "Bergen,2020-13-01,0.0,1.0,1.0,1.0,sun",
        weather_day(10),
    )
    benchmark = weather(path)
    assert [str(step.time)[-2:] for step in benchmark.stream(0).steps] == ["01", "02", "07"]
    told = "\n".join(benchmark.left_out)
    for reason in (
        "order of time; they are sorted (line 3)",
        "repeat an earlier one are left out (line 5)",
        "without a usable temp_max are left out (line 6)",
        "without a weather are left out (line 8)",
        "that an earlier row has already are left out (line 11)",
        "without 7 fields are left out (line 12)",
        "without a usable date are left out (line 13)",
        "days before a gap have no next day and are not steps (3 lines: 4, 7, 10)",
    ):
        assert reason in told


def test_a_byte_order_mark_is_not_part_of_the_header(tmp_path: Path):
    days = [weather_day(day) for day in range(1, 5)]
    marked = written(tmp_path, "w.csv", WEATHER_HEADER, *days, encoding="utf-8-sig")
    assert len(weather(marked).stream(0).steps) == 3


@pytest.mark.parametrize(
    ("lines", "encoding", "told"),
    [
        ((), "utf-8", "no column location"),
        ((WEATHER_HEADER,), "utf-8", "has no rows"),
        ((WEATHER_HEADER, weather_day(1), weather_day(2)), "utf-8", "three days in a row"),
        ((WEATHER_HEADER, weather_day(1, sky="grå")), "latin-1", "not UTF-8"),
        (("location,date", "Bergen,2020-01-01"), "utf-8", "no column precipitation, temp_max"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, lines: tuple[str, ...], encoding: str, told: str):
    with pytest.raises(TaskError, match=told) as refused:
        weather(written(tmp_path, "w.csv", *lines, encoding=encoding))
    assert "\n" not in str(refused.value)


def test_the_error_for_a_quote_that_is_never_closed_names_file_and_line(tmp_path: Path):
    days = [weather_day(1), '"' + weather_day(2), *["x" * 100] * 2000]
    with pytest.raises(TaskError, match=r"w\.csv: no CSV from line 3 on .*; a quote may be open there") as refused:
        weather(written(tmp_path, "w.csv", WEATHER_HEADER, *days))
    assert "\n" not in str(refused.value)
    with pytest.raises(TaskError, match=r"h\.csv: no CSV from line 1 on"):
        weather(written(tmp_path, "h.csv", '"' + "x" * 200_000))


def test_a_file_that_is_no_text_says_what_it_is(tmp_path: Path):
    days = [weather_day(day) for day in range(1, 5)]
    with pytest.raises(TaskError, match=r"w\.csv: it is UTF-16; convert it first"):
        weather(written(tmp_path, "w.csv", WEATHER_HEADER, *days, encoding="utf-16"))
    packed = gzip.compress("\n".join([WEATHER_HEADER, *days]).encode())
    for name, content, told in (
        ("packed.csv", packed, "it is gzip-compressed; unpack it first"),
        ("plain.csv.gz", b"location,date", "cannot be read: Not a gzipped file"),
        ("cut.csv.gz", packed[:-20], "cannot be read"),
        ("torn.csv.gz", packed[:12] + b"\xff" * 20 + packed[32:], "cannot be read"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(TaskError, match=told):
            weather(tmp_path / name)


@pytest.mark.parametrize("age", ["inf", "-inf", "nan", "1e308", "1e99", "-1", "131", "", "sixty"])
def test_an_impossible_age_is_not_shown_and_is_reported(tmp_path: Path, age: str):
    folder = clinic(tmp_path)
    written(tmp_path, "patients.csv", "subject_id,gender,anchor_age,anchor_year", f"1,F,{age},2150", "2,M,40,-1e308")
    benchmark = Clinical(StreamConfig(data=folder))
    assert [set(step.input) & {"sex", "age"} for step in benchmark.stream(0).steps] == [{"sex"}] * 3
    assert f"{folder / 'patients.csv'}: ages that cannot be are left out (2 lines: 2, 3)" in benchmark.left_out


def test_an_admission_at_a_time_with_a_zone_is_left_out(tmp_path: Path):
    benchmark = Clinical(StreamConfig(data=clinic(tmp_path, later="2150-03-01 00:00:00+01:00")))
    assert len(benchmark.stream(0).steps) == 2
    assert any("without a time of admission" in line for line in benchmark.left_out)


def test_a_missing_file_or_folder_is_refused(tmp_path: Path):
    with pytest.raises(TaskError, match=r"absent\.csv cannot be read"):
        weather(tmp_path / "absent.csv")
    with pytest.raises(TaskError, match=r"no admissions\.csv"):
        Clinical(StreamConfig(data=tmp_path))


def test_an_impossible_price_is_not_a_step(tmp_path: Path):
    closes = [100.0, 101.0, 1010.0, 101.0, 102.0, 103.0, 0.0, 104.0]
    days = [f"2020-01-{day + 1:02},1,1,1,{close}" for day, close in enumerate(closes)]
    benchmark = Finance(StreamConfig(data=written(tmp_path, "p.csv", "date,open,high,low,close", *days), steps=0))
    assert [step.input["date"] for step in benchmark.stream(0).steps] == ["2020-01-05", "2020-01-06"]
    assert "factor" in benchmark.left_out[1]
    assert "price of 0 or less" in benchmark.left_out[0]


def test_the_first_phrase_of_a_sentence_is_its_class():
    assert phrase("Partly cloudy starting in the morning continuing until night.") == "partly cloudy"
    assert phrase("Foggy overnight.") == "foggy"
    assert phrase("Breezy and mostly cloudy overnight.") == "breezy and mostly cloudy"
