"""`retrieval-gap train`, `eval` and `transfer`: train one run, and evaluate its model."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, Suppress, arg

from retrieval_gap.about import MODELS
from retrieval_gap.choices import CHECKPOINT_SECONDS, Embedding, MaybeNumber, Number, Precision
from retrieval_gap.commands.flags import (
    Changed,
    CheckpointSeconds,
    Device,
    Family,
    KeepWeights,
    Log,
    Retriever,
    RunsDir,
    RunWorkers,
    ScanBackend,
    TestSamples,
    check_samples,
    check_seconds,
    whole_numbers,
)
from retrieval_gap.commands.lists import TASKS, names_text
from retrieval_gap.experiments.trained.config import ProblemSize
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import Mode, Split

MAX_THREADS = 1024


def _default(metavar: str, text: str) -> Any:
    """A flag whose default depends on other flags; its help text names the default."""
    return arg(metavar=metavar, help=text, help_behavior_hint="")


@dataclass(frozen=True, kw_only=True)
class RunFlags:
    """What a run is.  None: what works at small sizes, or with --paper the paper's."""

    task: Annotated[str, arg(help=f"a task ({names_text(TASKS, 'TASK')}) or the path of your own file")]
    mode: Annotated[
        Mode, arg(help="direct: answer at once; cot: chain of thought; rag: chain of thought with retrieval")
    ]
    n: ProblemSize
    arch: Annotated[str, arg(help=f"an architecture ({names_text(MODELS, 'SIZES')}) or the path of your own file")]
    size: Annotated[str, arg(help="tiny, 0.5m, 1m or 2m, with changes such as tiny+d_model=16+n_layers=2")]
    family: Family = ""
    embedding: Annotated[
        Embedding | None, _default("sinusoidal|learned", "embedding: learned; paper: sinusoidal (frozen)")
    ] = None
    samples: Annotated[
        int | None, _default("INT", "training samples: 64,000; paper: 1,000,000 (its released README says 5M)")
    ] = None
    batch_size: Annotated[int | None, _default("INT", "samples per training step: 32; paper: 64")] = None
    lr: Annotated[
        MaybeNumber,
        _default("FLOAT", "peak learning rate: 0.003, for 1m and 2m 0.001; paper: Transformer 0.001, others 0.0003"),
    ] = None
    warmup_samples: Annotated[
        int | None, _default("INT", "samples of learning-rate warm-up: 5 % of all; paper: 10,000")
    ] = None
    max_grad_norm: Annotated[MaybeNumber, _default("FLOAT", "gradient clipping: 1; 0 means none; paper: none")] = None
    precision: Annotated[Precision, arg(help="number format of training; decoding is always fp32")] = "fp32"
    seed: Annotated[int, arg(help="seed for weights and data")] = 0
    eval_samples: Annotated[int | None, _default("INT", "held-out samples decoded at the end: 1,000; paper: 5,000")] = (
        None
    )
    eval_split: Annotated[Split, arg(help="split for the final evaluation; use validation to choose a setting")] = (
        "test"
    )
    eval_every: Annotated[
        int, arg(help="evaluate 256 validation samples every so many training samples; 0 means never")
    ] = 0
    stop_at: Annotated[Number, arg(help="stop training at this validation accuracy, such as 0.999; 0 means never")] = (
        0.0
    )
    curriculum: Annotated[
        str,
        arg(help="smaller problem sizes to train on first, such as 4+8; every size gets an equal share of the samples"),
    ] = ""
    options: Suppress[str] = ""


@dataclass(frozen=True, kw_only=True)
class TrainCommand:
    """Train one model and evaluate it. The same command resumes a stopped run and skips a finished one. A task's own
    options are flags too."""

    config: Annotated[RunFlags, arg(name="")]
    paper: Annotated[bool, arg(help="use the paper's settings instead of the defaults for small sizes")] = False
    runs_dir: RunsDir = Path("runs")
    device: Device = "auto"
    threads: Annotated[int, arg(help="CPU threads per rank; 0 means all cores")] = 0
    ranks: Annotated[int, arg(help="data-parallel processes, one per GPU if there are any")] = 1
    keep_weights: KeepWeights = True
    checkpoint_seconds: CheckpointSeconds = CHECKPOINT_SECONDS
    log: Log = "none"
    scan_backend: ScanBackend = "auto"
    json: Annotated[bool, arg(help="print the row as JSON, also in a terminal")] = False

    def run(self) -> None:
        from retrieval_gap.experiments.trained.defaults import with_defaults
        from retrieval_gap.experiments.trained.ranked import run_ranked
        from retrieval_gap.machine.devices import choose_device
        from retrieval_gap.runs.directory import RunDirectory
        from retrieval_gap.runs.experiment import RunOptions
        from retrieval_gap.runs.sweep import GONE
        from retrieval_gap.runs.tracking import check_tracker

        check_tracker(self.log)
        check_seconds(self.checkpoint_seconds)
        if not 0 <= self.threads <= MAX_THREADS:
            raise UsageError(f"--threads {self.threads} is out of range: expected 0 to {MAX_THREADS}")
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
        config = with_defaults(vars(self.config), paper=self.paper)
        if self.keep_weights and (directory := RunDirectory.of(config, self.runs_dir)).lacks_weights():
            print(f"{directory.path}: {GONE}", file=sys.stderr)
        row = run_ranked(config, options, ranks=self.ranks)
        if row is None:
            return
        if self.json or not sys.stdout.isatty():
            print(json.dumps(row))
            return
        from retrieval_gap.experiments.trained.ending import print_ending

        print_ending(config, row, self.runs_dir)


@dataclass(frozen=True, kw_only=True)
class EvalCommand:
    """Evaluate a finished run again: free decoding on its test split, with retrieval. Prints one JSON object."""

    run_dir: Annotated[Positional[Path], arg(metavar="RUN_DIR")]
    samples: TestSamples = 0
    retriever: Retriever = None
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
class TransferCommand:
    """Evaluate trained models on problems that they were not trained on: other families, sizes or options. Prints one
    line for each test and answer (open answers together)."""

    run_dirs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN_DIR...")]
    families: Annotated[str, arg(help='families to test, such as path_like,random_tree; "" means all of the task')] = ""
    n: Annotated[str, arg(help='problem sizes, such as 2,4,6; "" means the run\'s own')] = ""
    change: Annotated[
        tuple[str, ...],
        arg(
            metavar="OPTION=VALUE...",
            help="task options to test besides the run's own, such as order=last or lag=2,4",
        ),
    ] = ()
    samples: Annotated[int, arg(help="samples per test; 0 means as many as in the run")] = 0
    changed_files: Changed = "refuse"
    workers: RunWorkers = 1
    json: Annotated[bool, arg(help="print JSON, one object per row, instead of tables")] = False
    csv: Annotated[Path | None, arg(help="also write the rows to this CSV file")] = None

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
