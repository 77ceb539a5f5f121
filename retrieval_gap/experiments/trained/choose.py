"""`sweep --choose lr`: the rounds of the protocol of rates.py, each a sweep of its own."""

from collections.abc import Sequence
from dataclasses import replace

from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.experiments.trained.rates import Row, choose_rates
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.files import make_room_for
from retrieval_gap.runs.experiment import Experiment, RunOptions
from retrieval_gap.runs.known import finished_rows, planned_runs
from retrieval_gap.runs.sweep import SweepOptions, sweep
from retrieval_gap.tables.rows import write_rows


def choose_lr(cells: Sequence[Experiment], options: SweepOptions, run: RunOptions) -> None:
    """Runs the protocol on the cells that `options` choose; prints each model's window and rate, writes all rows.

    Finished runs are skipped, so that a sweep that was stopped goes on.
    Raises UsageError for cells that have no learning rate, for a grid of one rate, and where a round is not finished.
    """
    selected = options.chosen(cells)
    chosen = [cell for cell in selected if isinstance(cell, RunConfig)]
    if len(chosen) < len(selected) or options.shard:
        raise UsageError("--choose lr wants a grid of trained runs, whole: no --shard")
    if options.csv is not None:
        make_room_for(options.csv)
    one_round = replace(options, only="", csv=None)

    def run_round(new: list[RunConfig]) -> list[Row]:
        sweep(new, one_round, run)
        return finished_rows(planned_runs(new, run.runs_dir))

    models = choose_rates(chosen, run_round)
    for model in models:
        print(model.line())
    if options.csv is not None:
        rows = [row for model in models for row in model.rows()]
        write_rows(options.csv, rows)
        print(f"{len(rows)} rows written to {options.csv}")
