"""Prints what `probe` and `transfer` measured of runs, as tables or JSON, and writes their table."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_gap.experiments.of_run import OfRun, measured
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.printing import reader_may_leave
from retrieval_gap.runs.experiment import Row
from retrieval_gap.runs.user_files import check_user_files
from retrieval_gap.tables.printing import cells_of, print_table
from retrieval_gap.tables.rows import make_room_for_table, save_table

if TYPE_CHECKING:
    from retrieval_gap.commands.theory import ProbeCommand
    from retrieval_gap.commands.train import TransferCommand

WORDS = ("carried", "tested on", "answer")


@reader_may_leave()
def show_measured(
    kind: type[OfRun], run_dirs: Sequence[Path], settings: Mapping[str, Any], how: "ProbeCommand | TransferCommand"
) -> None:
    """Measure every run, print the results of each, and replace the table `how.csv`.

    Raises UsageError or RunError for a run without weights, an invalid test, or no run.
    """
    if not run_dirs:
        raise UsageError("name one run directory or more")
    if how.workers < 0:
        raise UsageError(f"--workers {how.workers} is out of range: expected 0 or more")
    if how.csv is not None:
        make_room_for_table(how.csv, kind.columns)
    check_user_files(run_dirs, how.changed_files)
    experiments = [kind(**OfRun.named(path), **settings) for path in run_dirs]
    every = measured(experiments, how.workers)
    for path, experiment, rows in zip(run_dirs, experiments, every, strict=True):
        if how.json:
            for row in rows:
                print(json.dumps(row), flush=True)
            continue
        if len(run_dirs) > 1:
            print(path)
        print_table(cells_of(experiment.shown_rows(rows)), left=WORDS)
        if told := _bits(rows[0]):
            print(told)
    if how.csv is not None:
        save_table(how.csv, kind.columns, [row for rows in every for row in rows])


def _bits(row: Row) -> str:
    """A line with the bits of state that a model uses and those that the task needs; "" if they were not measured."""
    if "bits_used" not in row:
        return ""
    low, high = row["bits_used_low"], row["bits_used_high"]
    interval = (
        f" [{low:,} to {'more than was tried' if high is None else format(high, ',')}]" if low is not None else ""
    )
    needed = "unknown here" if row["bits_needed"] is None else f"{row['bits_needed']:,.6g}"
    return f"bits used: {row['bits_used']:,}{interval}; bits needed to be always right: {needed}"
