"""`retrieval-gap train`, `eval` and `transfer`: one run, and what its model can do."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from retrieval_gap.choices import RetrieverName
from retrieval_gap.commands.flags import (
    Changed,
    CheckpointSeconds,
    Device,
    KeepWeights,
    Log,
    RunsDir,
    ScanBackend,
    check_samples,
    check_seconds,
    whole_numbers,
)
from retrieval_gap.experiments.trained.config import RunConfig
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.training.config import CHECKPOINT_SECONDS

MAX_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train one model and evaluate it; goes on where an earlier call stopped, skips what is finished.  A task's own
    options are flags too."""

    config: Annotated[RunConfig, arg(name="")]
    runs_dir: RunsDir = Path("runs")
    device: Device = "auto"
    threads: Annotated[int, arg(help="processor threads (of each rank); 0 means all cores")] = 0
    ranks: Annotated[int, arg(help="processes that share every batch, one a GPU where there are any")] = 1
    keep_weights: KeepWeights = False
    checkpoint_seconds: CheckpointSeconds = CHECKPOINT_SECONDS
    log: Log = "none"
    scan_backend: ScanBackend = "auto"

    def run(self) -> None:
        from retrieval_gap.experiments.trained.ranked import run_ranked
        from retrieval_gap.machine.devices import choose_device
        from retrieval_gap.runs.experiment import RunOptions
        from retrieval_gap.runs.tracking import check_tracker

        check_tracker(self.log)
        check_seconds(self.checkpoint_seconds)
        if not 0 <= self.threads <= MAX_THREADS:
            raise UsageError(f"--threads {self.threads} is out of range: 0 to {MAX_THREADS} are wanted")
        choose_device(self.device)
        options = RunOptions(
            runs_dir=self.runs_dir,
            device=self.device,
            threads=self.threads,
            keep_weights=self.keep_weights,
            checkpoint_seconds=self.checkpoint_seconds,
            log=self.log,
            scan_backend=self.scan_backend,
        )
        row = run_ranked(self.config, options, ranks=self.ranks)
        if row is not None:
            print(json.dumps(row))


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Decode a run's test split freely, retrieval executed; prints one JSON object."""

    run_dir: Annotated[Positional[Path], arg(metavar="RUN_DIR")]
    samples: Annotated[int, arg(help="samples of the test split; 0 means as many as the run's own")] = 0
    retriever: Annotated[RetrieverName | None, arg(help="default: the fast one where the task has one")] = None
    changed_files: Changed = "refuse"
    device: Device = "auto"
    scan_backend: ScanBackend = "auto"

    def run(self) -> None:
        from retrieval_gap.experiments.trained.run import evaluate_run
        from retrieval_gap.kernels.selective_scan import use_backend
        from retrieval_gap.machine.devices import choose_device
        from retrieval_gap.runs.directory import RunDirectory
        from retrieval_gap.runs.user_files import check_user_files

        check_samples(self.samples)
        check_user_files([self.run_dir], self.changed_files)
        device = choose_device(self.device)
        with use_backend(self.scan_backend):
            print(json.dumps(evaluate_run(RunDirectory(self.run_dir), self.samples or None, self.retriever, device)))


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Decode runs' models on problems that they were not trained on: other families, sizes, options; prints a table
    with a line for each test and answer (all answers together where they are open)."""

    run_dirs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN_DIR...")]
    families: Annotated[str, arg(help='such as path_like,random_tree; "" means all of the task')] = ""
    n: Annotated[str, arg(help='problem sizes, such as 2,4,6; "" means each run\'s own')] = ""
    change: Annotated[
        tuple[str, ...], arg(metavar="OPTION=VALUE...", help="options to test beside the run's own, such as order=last")
    ] = ()
    samples: Annotated[int, arg(help="samples of each test; 0 means as many as the run's own")] = 0
    changed_files: Changed = "refuse"
    workers: Annotated[int, arg(help="processes, one run and one thread each; 0 means one a core")] = 1
    json: Annotated[bool, arg(help="print one JSON object a row instead of tables")] = False
    csv: Annotated[Path | None, arg(help="write the rows there")] = None

    def run(self) -> None:
        from retrieval_gap.commands.measured import show_measured
        from retrieval_gap.experiments import transfer

        check_samples(self.samples)
        settings = {
            "families": tuple(self.families.split(",")) if self.families else (),
            "ns": tuple(whole_numbers("--n", self.n, 1, 2**31 - 1)) if self.n else (),
            "changes": tuple(self.change),
            "samples": self.samples,
        }
        show_measured(transfer.Transfer, self.run_dirs, settings, self)
