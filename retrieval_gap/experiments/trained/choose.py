"""`sweep --choose lr`: the rounds of the protocol of rates.py, each a sweep of its own."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.rates import Row, choose_rates, first_round
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.runs.experiment import Experiment, RunOptions
from retrieval_gap.runs.known import finished_rows, planned_runs
from retrieval_gap.runs.sweep import SweepOptions, print_plan, sweep
from retrieval_gap.tables.rows import columns_of, make_room_for_table, save_table


def choose_lr(cells: Sequence[Experiment], options: SweepOptions, run: RunOptions) -> None:
    """Run the protocol on the cells that `options` choose; print each model's window and rate, write all rows.

    Finished runs are skipped, so that a stopped sweep can resume.
    Raises UsageError for cells without a learning rate, for a grid of one rate, and if a round is not finished.
    """
    first = _first_cells(cells, options)
    if options.csv is not None:
        make_room_for_table(options.csv)
    one_round = replace(options, only="", csv=None)

    def run_round(new: list[RunConfig]) -> list[Row]:
        sweep(new, one_round, run)
        return finished_rows(planned_runs(new, run.runs_dir))

    models = choose_rates(first, run_round)
    for model in models:
        print(model.line())
    if options.csv is not None:
        rows = [row for model in models for row in model.rows()]
        save_table(options.csv, columns_of(rows), rows)


def print_choice_plan(cells: Sequence[Experiment], options: SweepOptions, runs_dir: Path) -> None:
    """Print the cells of the first round, and what the later rounds are.  Raises UsageError for the same cells as
    `choose_lr`."""
    print_plan(_first_cells(cells, options), replace(options, only=""), runs_dir)
    print(
        "this is the first round, on validation; a rate more is tried where the best is at an edge, then as many fresh "
        "seeds at the best, on test"
    )


def _first_cells(cells: Sequence[Experiment], options: SweepOptions) -> list[RunConfig]:
    """The first round of the cells that `options` choose."""
    selected = options.chosen(cells)
    chosen = [cell for cell in selected if isinstance(cell, RunConfig)]
    if len(chosen) < len(selected) or options.shard:
        raise UsageError("--choose lr needs a grid of trained runs, whole: no --shard")
    first = first_round(chosen)
    if len({cell.seed for cell in first}) < 2:
        print("one seed per rate: use two or more, such as --seed 0,1, to tell a good rate from luck", file=sys.stderr)
    return first
