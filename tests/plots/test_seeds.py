"""A mean is over seeds only: rows that differ in another setting are refused, or told apart."""

import re
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots import style
from tests.plots import card_tables
from tests.plots.layout import shown
from tests.plots.tables import demo_like, probe_like, row, write
from tests.plots.test_fig6 import made_row
from tests.plots.test_figures import arms_like
from tests.plots.test_left_out import memories
from tests.plots.test_theory_figures import retrieval_rows, transfer_rows

Row = dict[str, Any]
SETTINGS = {
    "embedding": "learned", "lr": 3e-3, "warmup_samples": 3200, "max_grad_norm": 1.0, "batch_size": 32,
    "precision": "fp32", "curriculum": "",
}  # fmt: skip
OTHERS = {
    "lr": 1e-2, "warmup_samples": 6400, "max_grad_norm": 0.0, "batch_size": 64, "precision": "bf16",
    "curriculum": "4+8",
}  # fmt: skip
MEANS: dict[str, list[Row]] = {
    "fig2_istree": demo_like(),
    "fig5_istree": demo_like(),
    "fig6_hotpotqa": [made_row()],
    "fig_arms": arms_like(),
    "fig_find_path": card_tables.find_path(),
    "fig_last_write": card_tables.last_write(),
    "fig_query_first": card_tables.query_first(),
    "fig_retrieval": retrieval_rows(),
    "fig_size_reached": probe_like(),
    "fig_state_bits": probe_like(),
    "fig_tracking": card_tables.tracking(),
    "fig_transfer": transfer_rows(),
}


def drawn(name: str, rows: list[Row], folder: Path) -> Figure:
    module = import_module(f"retrieval_gap.plots.{name}")
    read = getattr(module, "read_table", import_module("retrieval_gap.plots.results").read_results)
    with style.applied():
        figure: Figure = module.draw_figure(read(write(folder / "t.csv", rows)))
    return figure


def heights(figure: Figure) -> Counter[tuple[float, ...]]:
    """The values that each line of each panel has."""
    lines = [line for axes in figure.axes for line in axes.lines]
    return Counter(tuple(round(float(y), 6) for y in line.get_ydata()) for line in lines)


def with_settings(rows: list[Row]) -> list[Row]:
    return [SETTINGS | each for each in rows]


@pytest.mark.parametrize("column", OTHERS)
@pytest.mark.parametrize("name", MEANS)
def test_rows_that_differ_in_a_setting_are_not_averaged_as_seeds(name: str, column: str, tmp_path: Path) -> None:
    rows = with_settings(MEANS[name])
    other = rows[0] | {"seed": 7, column: OTHERS[column]}
    with pytest.raises(UsageError, match=rf"line \d+ and .*line \d+ differ in {column} \(") as refused:
        drawn(name, [*rows, other], tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", MEANS)
def test_rows_that_differ_only_in_seed_are_averaged(name: str, tmp_path: Path) -> None:
    rows = with_settings(MEANS[name])
    both = [*rows, *(each | {"seed": each["seed"] + 7} for each in rows)]
    one, two = (heights(drawn(name, given, tmp_path)) for given in (rows, both))
    assert one
    assert one <= two, "the mean of equal seeds is that of one; marks of seeds are added"


@pytest.mark.parametrize("name", MEANS)
def test_a_seed_of_unknown_warm_up_is_averaged_with_the_others(name: str, tmp_path: Path) -> None:
    rows = with_settings(MEANS[name])
    older = [each | {"seed": each["seed"] + 7, "warmup_samples": "", "max_grad_norm": ""} for each in rows]
    assert heights(drawn(name, rows, tmp_path)) <= heights(drawn(name, [*rows, *older], tmp_path))


@pytest.mark.parametrize("name", MEANS)
def test_a_duplicate_row_is_refused(name: str, tmp_path: Path) -> None:
    rows = with_settings(MEANS[name])
    with pytest.raises(UsageError, match=r"line \d+ and .*line \d+ are two rows of one configuration and seed"):
        drawn(name, [*rows, rows[0]], tmp_path)


TABLES = MEANS | {"fig_bits_used": probe_like(), "fig_card": card_tables.card(), "fig_lr_window": card_tables.rates()}


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.texts).replace("\n", " ").replace("\u00a0", " ")


@pytest.mark.parametrize("name", TABLES)
def test_a_caption_names_the_samples_and_machines_of_all_rows(name: str, tmp_path: Path) -> None:
    others = [r | {"seed": r["seed"] + 7, "hardware": "Loom, 3 cores", "eval_samples": 77} for r in TABLES[name]]
    told = words(drawn(name, [*TABLES[name], *others], tmp_path))
    assert re.search(r"\b(77|154)( to |\N{EN DASH})", told)  # 154: both answers of a test together
    if "Hardware:" in told:
        assert f"{TABLES[name][0]['hardware']}; Loom, 3 cores" in told


@pytest.mark.parametrize("name", TABLES)
def test_a_caption_names_the_split_if_it_is_not_the_test_split(name: str, tmp_path: Path) -> None:
    tests = [r | {"eval_split": "test"} for r in TABLES[name]]
    assert "split" not in words(drawn(name, tests, tmp_path)).replace("on the test split", "")
    assert "of the validation split" in words(drawn(name, [r | {"eval_split": "validation"} for r in tests], tmp_path))


def test_the_card_takes_the_best_of_several_trainings(tmp_path: Path) -> None:
    rows = [
        card_tables.run("index", 16, curriculum=c, seed=i, accuracy=0.2 + 0.6 * i) for i, c in enumerate(("", "4+8"))
    ]
    told = [text.get_text() for text in shown(drawn("fig_card", rows, tmp_path))]
    assert "0.80" in told
    assert "0.50" not in told


def test_a_window_over_more_than_seeds_is_refused(tmp_path: Path) -> None:
    rows = [row | {"curriculum": ""} for row in card_tables.rates()]
    rows[-1]["curriculum"] = "4+8"
    with pytest.raises(UsageError, match="differ in curriculum"):
        drawn("fig_lr_window", rows, tmp_path)


@pytest.mark.parametrize("name", ["fig_memory", "fig_memory_bits"])
def test_memory_rows_that_differ_in_an_unnamed_setting_are_refused(name: str, tmp_path: Path) -> None:
    rows = memories()
    with pytest.raises(UsageError, match=r"differ in temperature \(none, 0\.7\)"):
        drawn(name, [*rows, rows[0] | {"temperature": "0.7"}], tmp_path)


def test_trained_models_beside_constructions_are_means_over_seeds_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two learning rates is right: a mean over both is not."""
    from retrieval_gap.plots import constructions

    same = {"task": "index", "mode": "direct", "family": "default", "options": "values=4", "arch": "lstm", "n": 8}
    rows = [
        row(**same, state_bits=64, seed=i, lr=lr, accuracy=a) for i, (lr, a) in enumerate(((0.01, 0.5), (0.001, 1.0)))
    ]
    monkeypatch.setattr(
        constructions, "TRAINED", (write(tmp_path / "one.csv", rows), write(tmp_path / "two.csv", rows))
    )
    table = constructions.read_table(constructions.CONSTRUCTIONS)
    assert sorted(model.accuracy for model in table.trained) == [0.5, 1.0]
