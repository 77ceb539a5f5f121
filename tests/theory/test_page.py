"""docs/theory.md: its commands print what it shows, its table of optima is right, and files that it names exist."""

import re
from pathlib import Path

import pytest

from retrieval_gap.cli import main
from retrieval_gap.theory.best_cells import counting_scores, distinct_scores, independent_scores
from retrieval_gap.theory.problems import best_accuracy, index_problem
from tests.theory.small_problems import counting_problem, distinct_recall_problem

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/theory.md").read_text()
COMMANDS = re.findall(r"^    \$ retrieval-gap (.*)\n((?:    .*\n)+)", PAGE, re.M)
ROWS = {
    "Index, 3 tokens of 2 values": (index_problem(3, 2), independent_scores(3, 2)),
    "Index, 2 tokens of 3 values": (index_problem(2, 3), independent_scores(2, 3)),
    "recall of 2 different": (distinct_recall_problem(2, 4), distinct_scores(2, 4)),
    "counts of 0 to 2 of 2": (counting_problem(2, 2), counting_scores(2, 2)),
}


@pytest.mark.parametrize(("command", "told"), COMMANDS)
def test_commands_print_what_the_page_shows(command: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 0
    assert capsys.readouterr().out.splitlines() == [line[4:] for line in told.splitlines()]


@pytest.mark.parametrize("name", ROWS)
def test_the_table_has_the_computed_optima_and_bounds(name: str) -> None:
    (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| {name}")]
    problem, scores = ROWS[name]
    for bits, cell in enumerate(line.split("|")[2:6]):
        optimum, bound = map(float, cell.split("/"))
        assert best_accuracy(problem, bits) == pytest.approx(optimum, abs=5.1e-5)
        assert scores.ceiling(bits) == pytest.approx(bound, abs=5.1e-5)


def test_every_file_that_the_page_names_exists() -> None:
    assert COMMANDS
    for path in re.findall(r"`((?:tests|retrieval_gap)/[\w/]+\.\w+)`", PAGE):
        assert (ROOT / path).exists(), path
