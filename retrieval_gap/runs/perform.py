"""Runs one experiment in its directory: skips it where it is done, goes on where it is partial, holds it meanwhile."""

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
    """The rows of an experiment: read back where it is finished, else made by `work` (by default the experiment's own
    `execute`) with the run's directory held.

    A run may go on upon another device than it was begun on.  ranks: processes that share the work, as is noted down.
    Raises UsageError or TaskError for an invalid configuration or directory, HeldError where another process
    keeps the run, RunError where it fails; what would fail again is noted in the directory as failed for good.
    """
    experiment.validate()
    run = RunDirectory.of(experiment, options.runs_dir)
    if run.result.exists():
        return run.rows(experiment)
    torch.set_num_threads(options.threads or usable_cores())
    keep_freed_memory()
    make_folder(run.path)
    with run.locked(options.patience), use_backend(options.scan_backend):
        if run.result.exists():  # another process had the lock until now
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
        run.finish(rows)
        experiment.tidy(run, options)
    return rows


def _start(options: RunOptions, ranks: int) -> dict[str, object]:
    """What this start of a run happens on."""
    described = environment.describe(choose_device(options.device).type)
    return {**described, "threads": torch.get_num_threads(), "scan_backend": chosen_backend(), "ranks": ranks}
