"""Run one experiment while holding its directory: skip it if it is done, resume it if it is partial."""

from collections.abc import Callable
from contextlib import nullcontext

import torch

from retrieval_gap.kernels.selective_scan import chosen_backend, use_backend
from retrieval_gap.machine import environment
from retrieval_gap.machine.devices import choose_device
from retrieval_gap.machine.environment import usable_cores
from retrieval_gap.machine.errors import HopelessError, RunError
from retrieval_gap.machine.files import make_folder, write_json
from retrieval_gap.machine.freed_memory import keep_freed_memory
from retrieval_gap.runs.directory import RunDirectory, read_json
from retrieval_gap.runs.experiment import Experiment, Row, RunOptions
from retrieval_gap.tasks.containment import no_silent_exit

Work = Callable[[RunDirectory, RunOptions], list[Row]]


def perform(experiment: Experiment, options: RunOptions, work: Work | None = None, *, ranks: int = 1) -> list[Row]:
    """The rows of an experiment: read back if it is finished, else computed by `work` (by default the experiment's own
    `execute`) while this process holds the run's directory.

    A run may resume on another device than it began on.  ranks: number of processes that share the work, for the
    record.  Raises UsageError or TaskError for an invalid configuration or directory, HeldError if another process
    holds the run, RunError if it fails; a failure that would recur is recorded in the directory as final.
    """
    experiment.validate()
    run = RunDirectory.of(experiment, options.runs_dir)
    if run.result.exists():
        return run.rows(experiment)
    torch.set_num_threads(options.threads or usable_cores())
    keep_freed_memory()
    make_folder(run.path)
    with run.locked(options.patience), use_backend(options.scan_backend):
        if run.result.exists():  # by another process that held the lock until now
            return run.rows(experiment)
        if run.failure.exists():
            reason = read_json(run.failure).get("reason", "no reason is written")
            raise RunError(f"{run.path} failed before: {reason}; delete it to try again")
        run.create(experiment, _start(options, ranks))
        try:
            with no_silent_exit() if experiment.foreign() else nullcontext():
                rows = (work or experiment.execute)(run, options)
        except HopelessError as error:
            write_json(run.failure, {"reason": str(error)})
            raise
        rows = run.named(rows, experiment)
        run.finish(rows)
        experiment.tidy(run, options)
    return rows


def _start(options: RunOptions, ranks: int) -> dict[str, object]:
    """What is recorded about this start of a run."""
    described = environment.describe(choose_device(options.device).type)
    return {**described, "threads": torch.get_num_threads(), "scan_backend": chosen_backend(), "ranks": ranks}
