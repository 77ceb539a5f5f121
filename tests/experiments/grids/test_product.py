"""Grids from lists of values: wrong values are refused, and the paper's settings fill in only what lists leave open."""

import pytest

from retrieval_gap.experiments.grids import grid_cells
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.sweep import select

LISTS = {"task": "index", "mode": "direct", "arch": "lstm", "size": "tiny", "n": "8"}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("n", "8,1_0", "--n 1_0 is invalid: expected whole numbers"),
        ("n", "8.0", r"--n 8\.0 is invalid"),
        ("n", "\u0668", "--n \u0668 is invalid: expected whole numbers"),
        ("lr", "\u0661e-3", "--lr \u0661e-3 is invalid: expected numbers"),
        ("lr", "1_0e-3", "--lr 1_0e-3 is invalid: expected numbers"),
        ("lr", "1e-999", "--lr 1e-999 is invalid"),
        ("embedding", "learned,sinusodial", "unknown embedding 'sinusodial'"),
        ("precision", "foo", "unknown precision 'foo'"),
        ("eval_split", "train,tset", "unknown eval_split 'tset'"),
    ],
)
def test_a_wrong_value_is_refused_before_anything_is_planned(name: str, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        grid_cells("", LISTS | {name: text})


def test_the_papers_settings_apply_to_lists_and_not_to_a_preset() -> None:
    (cell,) = grid_cells("", LISTS, paper=True)
    assert cell.to_json()["embedding"] == "sinusoidal"
    with pytest.raises(UsageError, match="--paper fills in what lists of values leave open; demo names all"):
        grid_cells("demo", {}, paper=True)


def test_a_tasks_own_numbers_take_lists_and_a_comma_in_a_word_belongs_to_it() -> None:
    cells = grid_cells("", LISTS | {"n": "8,16"}, "values=4,16")
    assert [(cell.to_json()["options"], cell.to_json()["n"]) for cell in cells] == [
        (f"values={values}", n) for values in (4, 16) for n in (8, 16)
    ]
    paragraphs = {"task": "hotpotqa", "mode": "cot", "arch": "lstm", "size": "tiny", "n": "8"}
    told = [cell.to_json()["options"] for cell in grid_cells("", paragraphs, "order=3,7 names=6,12")]
    assert told == ["order=3,7 names=6", "order=3,7 names=12"]


def test_a_filter_chooses_cells_by_an_option_also_at_its_default() -> None:
    given, default = grid_cells("", LISTS, "values=4"), grid_cells("", LISTS)
    assert select([*given, *default], "values=4") == given
    assert select([*given, *default], "n=8 values=16 query=last") == default
    graphs = grid_cells("", LISTS | {"task": "istree"})
    assert select([*graphs, *given], "values=4") == given
    with pytest.raises(UsageError, match="unknown filter key 'valves'"):
        select([*graphs, *given], "valves=4")
