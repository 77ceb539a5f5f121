"""Figures of constructions show what is in their table, and the bounds and trained models of the same problems."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.axes import Axes

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.plots import constructions, fig_construction_steps, fig_constructions
from retrieval_gap.plots.constructions import CONSTRUCTIONS, ConstructionTable, least_state, read_table
from retrieval_gap.tasks.api import TaskConfig
from retrieval_gap.tasks.index import Index
from retrieval_gap.theory.bounds import bound_of
from tests.plots.layout import check_words
from tests.plots.tables import row, write

pytestmark = pytest.mark.usefixtures("styled")


def built(how: str, n: int, **changes: Any) -> dict[str, Any]:
    """A row about a construction of Index over 4 letters."""
    one = row(task="index", mode="direct", family="default", n=n, arch=f"constructed_{how}", size="constant")
    one |= {"options": "values=4", "accuracy": 1.0, "exact_trace": 1.0, "samples": 0, "eval_samples": 100}
    one |= {"state_bits": 30 * n, "recurrent_bits": 0, "context_tokens": n + 4, "precision_bits": 20}
    return one | {"steps": 1.0, "machine_steps": "", "theorem": "4.6"} | changes


def table_of(path: Path, *rows: dict[str, Any]) -> ConstructionTable:
    return read_table(write(path / "constructions.csv", list(rows)))


def lines(axes: Axes) -> dict[str, list[tuple[float, float]]]:
    return {each.get_label(): list(zip(each.get_xdata(), each.get_ydata(), strict=True)) for each in axes.lines}


def test_each_kind_of_construction_is_drawn_at_its_own_kind_of_bits(tmp_path: Path) -> None:
    rows = [built("transformer", n) for n in (16, 64)]
    rows += [built("rnn_rag", n, mode="rag", state_bits=n // 8, recurrent_bits=n // 8) for n in (16, 64)]
    rows += [built("hybrid", n, recurrent_bits=n // 4) for n in (16, 64)]
    drawn = lines(fig_constructions.draw_figure(table_of(tmp_path, *rows)).axes[0])
    assert drawn["Transformer: its cache"] == [(16, 480), (64, 1920)]
    assert drawn["RNN that searches"] == [(16, 2), (64, 8)]
    assert drawn["hybrid: its recurrent layers"] == [(16, 4), (64, 16)]


def test_the_bound_is_the_fewest_bits_whose_ceiling_is_high_enough(tmp_path: Path) -> None:
    drawn = lines(fig_constructions.draw_figure(table_of(tmp_path, built("transformer", 16))).axes[0])
    ((n, bits),) = drawn["bound"]
    bound = bound_of(Index(TaskConfig(n=16, options="values=4")))
    assert n == 16
    assert float(bound.ceiling(int(bits))) >= 0.9 > float(bound.ceiling(int(bits) - 1))


def test_a_construction_that_is_not_exact_is_not_drawn_as_exact(tmp_path: Path) -> None:
    rows = [built("transformer", 16), built("transformer", 64, accuracy=0.99)]
    drawn = lines(fig_constructions.draw_figure(table_of(tmp_path, *rows)).axes[0])
    assert drawn["Transformer: its cache"] == [(16, 480)]


def test_trained_models_are_drawn_at_the_largest_n_they_answer_with_the_smallest_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained(n: int, bits: int, seed: int, accuracy: float, **changes: Any) -> dict[str, Any]:
        one = row(task="index", mode="direct", family="default", n=n, arch="lstm", size=f"w{bits}", seed=seed)
        return one | {"options": "values=4", "state_bits": bits, "accuracy": accuracy} | changes

    rows = [trained(8, 64, 0, 0.95), trained(16, 256, 0, 0.95), trained(16, 256, 1, 0.9), trained(16, 512, 0, 1.0)]
    rows += [trained(32, 512, 0, 0.95), trained(32, 512, 1, 0.8), trained(40, 64, 0, 1.0, mode="rag")]
    rows += [trained(64, 64, 0, 1.0, options="values=2")]
    monkeypatch.setattr(constructions, "TRAINED", (write(tmp_path / "trained.csv", rows),))
    table = table_of(tmp_path, built("transformer", 16))
    found = {(model.mode, model.n, model.state_bits) for model in table.reached(table.rows[0])}
    assert found == {("direct", 16, 256), ("rag", 40, 64)}


def test_steps_of_istree_are_drawn_against_n_and_of_machines_against_time(tmp_path: Path) -> None:
    rows = [built("transformer_cot", n, task="istree", mode="cot", options="", steps=2.0 * n) for n in (16, 32)]
    rows += [built("hybrid", 4, task="turing", options="word=1", machine_steps=50, context_tokens=60)]
    left, right = fig_construction_steps.draw_figure(table_of(tmp_path, *rows)).axes
    assert lines(left)["Transformer, chain of thought (4.7)"] == [(16, 32), (32, 64)]
    assert lines(left)["n"] == [(16, 16), (32, 32)]
    assert lines(right)["hybrid (5.8): a token a step"] == [(50, 60)]


@pytest.mark.parametrize("figure", [fig_constructions, fig_construction_steps])
def test_the_committed_table_is_drawn_with_words_that_fit(figure: Any) -> None:
    drawn = figure.draw_figure(read_table(CONSTRUCTIONS))
    check_words(drawn)


def test_the_committed_table_is_exact_in_every_row() -> None:
    rows = read_table(CONSTRUCTIONS).rows
    assert {(row.accuracy, row.exact_trace) for row in rows} == {(1.0, 1.0)}
    assert {row.task for row in rows} >= {
        "index",
        "associative_recall",
        "cgram_retrieval",
        "counting",
        "istree",
        "turing",
    }


@pytest.mark.parametrize(("changes", "said"), [({"steps": "few"}, "steps"), ({"accuracy": "2"}, "accuracy")])
def test_a_table_with_a_wrong_value_is_refused_in_one_line(changes: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        table_of(tmp_path, built("transformer", 16, **changes))


def test_options_that_the_task_does_not_have_are_refused_with_their_line(tmp_path: Path) -> None:
    (row,) = table_of(tmp_path, built("transformer", 16, options="letters=4")).rows
    with pytest.raises(UsageError, match=r"constructions\.csv, line 2: .*letters"):
        least_state(row, [16])
