"""No row of a table is left out of a figure in silence: it is drawn, or the figure reports it."""

import csv
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from retrieval_gap.plots import figures, style
from retrieval_gap.plots.memories import SCRIPTED
from retrieval_gap.tables.rows import write_table
from tests.plots import card_tables
from tests.plots.layout import shown
from tests.plots.tables import demo_like, probe_like, probe_row, row
from tests.plots.test_construction_figures import built
from tests.plots.test_fig6 import made_row
from tests.plots.test_figures import arms_like
from tests.plots.test_heads_figures import ROWS, head_row
from tests.plots.test_theory_figures import retrieval_rows, transfer_rows

Row = dict[str, Any]


def memories() -> list[Row]:
    with SCRIPTED.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def recalled(**changes: Any) -> Row:
    """The row of a whole run of recall with a budget."""
    made = next(r for r in memories() if (r["benchmark"], r["part"]) == ("recall", "all") and r["budget"])
    return made | changes


def moved(task: str) -> Row:
    return card_tables.run(task, 16, "", tested_n=16, tested_options="", tested_on="", answer="=x")


# For each figure a table, a row of another kind, and the words that this row adds to the figure.
CASES: list[tuple[str, list[Row], Row, str]] = [
    ("fig2_istree", demo_like(), row(task="index"), "1 cell of task index"),
    ("fig5_istree", demo_like(), row(task="index"), "1 cell of task index"),
    ("fig5_istree", demo_like(), row(mode="scratchpad"), "1 cell of mode scratchpad"),
    ("fig6_hotpotqa", [made_row()], made_row(task="index"), "1 row of task index"),
    ("fig6_hotpotqa", [made_row()], made_row(order="first"), "1 row of rag, first plain, 4 paragraphs"),
    ("fig6_hotpotqa", [made_row()], made_row(tested_n=10), "1 row of rag, random plain, 10 paragraphs"),
    ("fig6_hotpotqa", [made_row()], made_row(mode="scratchpad"), "1 row of scratchpad"),
    ("fig_arms", arms_like()[:-1], row(task="index", embedding="learned"), "2 rows of other tasks"),
    ("fig_bits_used", probe_like(), probe_row(mode="rag", arch="mamba"), "Mamba (retrieval)"),
    ("fig_size_reached", probe_like(), probe_row(mode="rag", arch="mamba"), "Mamba (retrieval)"),
    ("fig_state_bits", probe_like(), probe_row(mode="rag", arch="mamba"), "Mamba (retrieval)"),
    ("fig_card", card_tables.card(), card_tables.run("last_write", 8, "variables=4 values=8"), "4 rows of a smaller n"),
    ("fig_card", card_tables.card(), card_tables.run("counting", 16), "Counting, n = 16"),
    ("fig_construction_steps", [built("rnn_rag", 16, task="istree")], built("rnn_rag", 16), "1 row of task index"),
    ("fig_constructions", [built("rnn_rag", 16)], built("rnn_rag", 32, accuracy=0.9), "row of constructions that are"),
    ("fig_constructions", [built("rnn_rag", 16)], built("rnn_rag", 32, task="copy"), "1 row of task copy"),
    ("fig_constructions", [built("rnn_rag", 16)], built("rnn_rag", 32, options="values=2"), "1 row of other families"),
    ("fig_constructions", [built("rnn_rag", 16)], built("gru", 32), "1 row of construction gru of index"),
    ("fig_find_path", card_tables.find_path(), moved("index"), "1 row of task index"),
    ("fig_heads", ROWS, head_row("mean", versus="frozen model", difference=0.1, difference_low=0, difference_high=0.2,
                                 detectable=0.1, p_holm=1), "1 row of comparison with frozen model"),
    ("fig_heads", ROWS, head_row("mean", control="random_states"), "1 row of control random states"),
    ("fig_order", ROWS, head_row("mean", control="random_states"), "1 row of control random states"),
    ("fig_order", ROWS, head_row("mean", dataset="copa"), "1 row of copa, whose states are not shuffled"),
    ("fig_middle", ROWS, head_row("mean", place=3, control="random_states"), "1 row of control random states"),
    ("fig_last_write", card_tables.last_write(), card_tables.run("index", 16), "1 row of task index"),
    ("fig_lr_window", card_tables.rates(), card_tables.rates()[0] | {"task": "index"}, "Index, n = 16"),
    ("fig_memory", memories(), recalled(budget=7), "1 row of recall at 7 tokens"),
    ("fig_memory_bits", memories(), recalled(benchmark="weather"), "1 row of benchmark weather"),
    ("fig_query_first", card_tables.query_first(), card_tables.run("index", 8, "query=first", arch="transformer"),
     "1 row of Transformer (no state of fixed size)"),
    ("fig_query_first", card_tables.query_first(), card_tables.run("index", 8, mode="rag"), "1 row of retrieval"),
    ("fig_retrieval", retrieval_rows(), row(), "Not drawn: IsTree"),
    ("fig_retrieval", retrieval_rows(), row(task="index", family="hard", mode="direct"), "index of the family hard"),
    ("fig_retrieval", retrieval_rows(), retrieval_rows()[0] | {"samples": 10}, "1 row of shorter training"),
    ("fig_tracking", card_tables.tracking(), moved("index"), "1 row of task index"),
    ("fig_transfer", [r for r in transfer_rows() if r["tested_n"] == 8], transfer_rows()[1] | {"tested_n": 12},
     "1 row of tests at n = 12"),
]  # fmt: skip


def drawn(name: str, rows: list[Row], folder: Path) -> str:
    """All words of the figure of these rows."""
    write_table(folder / "t.csv", list(dict.fromkeys(key for each in rows for key in each)), rows)
    module = import_module(f"retrieval_gap.plots.{name}")
    read = getattr(module, "read_table", import_module("retrieval_gap.plots.results").read_results)
    with style.applied():
        figure = module.draw_figure(read(folder / "t.csv"))
    return " ".join(" ".join(text.get_text().split()) for text in shown(figure))


@pytest.mark.parametrize(("name", "rows", "other", "told"), CASES, ids=[f"{name}: {told}" for name, *_, told in CASES])
def test_a_row_of_another_kind_is_drawn_or_reported(
    name: str, rows: list[Row], other: Row, told: str, tmp_path: Path
) -> None:
    assert told not in drawn(name, rows, tmp_path)
    assert told in drawn(name, [*rows, other], tmp_path)


def test_every_figure_of_a_table_has_a_case() -> None:
    of_a_folder = "fig_systems"  # tests/plots/test_fig_systems.py
    assert {name for name, *_ in CASES} == {*figures()} - {"idea", of_a_folder}
