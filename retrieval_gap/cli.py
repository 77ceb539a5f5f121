"""The console command `retrieval-gap`: one dataclass a subcommand, flags derived from its fields.

Exit status: 0 done, 1 failed, 2 wrong use.  Errors are one line on standard error; `--debug` adds the traceback.
"""

import contextlib
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Protocol, TextIO, TypeVar

import tyro
from tyro.conf import Positional, Suppress, arg, subcommand

from retrieval_gap.devices import DeviceName, choose_device
from retrieval_gap.errors import RunError, UsageError, fault
from retrieval_gap.experiments.config import Number, ProblemSize, RunConfig
from retrieval_gap.kernels.selective_scan import BackendName, use_backend
from retrieval_gap.retrieval import RetrieverName
from tasks.api import Mode, Split, TaskError

MAX_THREADS = 1024
MAX_BITS, MAX_RANK = 2**63 - 1, 2**31 - 1
NARROWEST = 40  # columns: tyro never ends its help in very narrow terminals
Device = Annotated[DeviceName, arg(help="auto: the GPU where there is one")]
RunsDir = Annotated[Path, arg(help="folder of the run directories")]
KeepWeights = Annotated[bool, arg(help="leave the weights of finished runs in their directories, for `eval`")]
Only = Annotated[str, arg(help="cells to take, such as 'n=8 arch=mamba,lstm mode=cot'")]
ScanBackend = Annotated[BackendName, arg(help="what computes Mamba's scan; auto: the fastest here")]


class Command(Protocol):
    def run(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Print samples of a task, as text or as one JSON object a line.  A task's own options are flags too."""

    task: Annotated[Positional[str], arg(metavar="TASK", help="a task's name, or a .py file that defines one")]
    n: ProblemSize
    mode: Mode = "direct"
    family: Annotated[str, arg(help='distribution of problems; "" means the task\'s first')] = ""
    split: Split = "train"
    seed: int = 0
    count: Annotated[int, arg(help="samples to print, from number `first` on")] = 1
    first: int = 0
    format: Literal["text", "jsonl"] = "text"
    options: Suppress[str] = ""

    def run(self) -> None:
        from retrieval_gap.experiments.trial import try_task
        from retrieval_gap.samples import print_samples
        from tasks.api import TaskConfig
        from tasks.registry import load_task

        if self.count < 0 or self.first < 0:
            raise UsageError("--count and --first are 0 or more")
        if self.first + self.count > 2**63:
            raise UsageError("--first and --count reach past sample 2**63 - 1")
        config = TaskConfig(
            n=self.n, mode=self.mode, family=self.family, split=self.split, seed=self.seed, options=self.options
        )
        task = load_task(self.task)(config)
        if self.task.endswith(".py"):
            try_task(task, self.task)
        print_samples(task, self.first, self.count, self.format)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train one model and evaluate it; goes on where an earlier call stopped, skips what is finished.  A task's own
    options are flags too."""

    config: Annotated[RunConfig, arg(name="")]
    runs_dir: RunsDir = Path("runs")
    device: Device = "auto"
    threads: Annotated[int, arg(help="processor threads; 0 means all cores")] = 0
    keep_weights: KeepWeights = False
    scan_backend: ScanBackend = "auto"

    def run(self) -> None:
        from retrieval_gap.experiments.executor import run_one

        if not 0 <= self.threads <= MAX_THREADS:
            raise UsageError(f"--threads {self.threads} is out of range: 0 to {MAX_THREADS} are wanted")
        device = choose_device(self.device)
        with use_backend(self.scan_backend):
            row = run_one(self.config, self.runs_dir, self.threads, device, keep_weights=self.keep_weights)
        print(json.dumps(row))


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Decode a run's test split freely, retrieval executed; prints one JSON object."""

    run_dir: Annotated[Positional[Path], arg(metavar="RUN_DIR")]
    samples: Annotated[int, arg(help="samples of the test split; 0 means as many as the run's own")] = 0
    retriever: Annotated[RetrieverName | None, arg(help="default: the fast one where the task has one")] = None
    device: Device = "auto"
    scan_backend: ScanBackend = "auto"

    def run(self) -> None:
        from retrieval_gap.experiments.run import RunDirectory, evaluate_run

        if not 0 <= self.samples < 2**63:
            raise UsageError(f"--samples {self.samples} is out of range: 0 to 2**63 - 1 are wanted")
        device = choose_device(self.device)
        with use_backend(self.scan_backend):
            print(json.dumps(evaluate_run(RunDirectory(self.run_dir), self.samples or None, self.retriever, device)))


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """Decode runs' models on families of problems that they were not trained on; prints one JSON object for each run,
    family and answer."""

    run_dirs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN_DIR...")]
    families: Annotated[str, arg(help='such as path_like,random_tree; "" means all of the task')] = ""
    samples: Annotated[int, arg(help="samples of each family; 0 means as many as the run's own")] = 0
    csv: Annotated[Path | None, arg(help="write the rows there")] = None

    def run(self) -> None:
        from retrieval_gap.experiments.run import RunDirectory
        from retrieval_gap.experiments.transfer import transfer_runs

        if not 0 <= self.samples < 2**63:
            raise UsageError(f"--samples {self.samples} is out of range: 0 to 2**63 - 1 are wanted")
        families = self.families.split(",") if self.families else []
        transfer_runs([RunDirectory(path) for path in self.run_dirs], families, self.samples or None, self.csv)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Print the best accuracy that any reader with so many bits of state can have; docs/theory.md proves it.  A task's
    own options are flags too."""

    task: Annotated[Positional[str], arg(metavar="TASK", help="a task's name")]
    n: ProblemSize
    bits: Annotated[str, arg(help="bits of state, such as 16, or several: 0,4,16")]
    family: Annotated[str, arg(help='distribution of problems; "" means the task\'s first')] = ""
    options: Suppress[str] = ""

    def run(self) -> None:
        from retrieval_gap.theory.bounds import bound_of
        from tasks.api import TaskConfig
        from tasks.registry import load_task

        bits = _whole_numbers("--bits", self.bits, 0, MAX_BITS)
        bound = bound_of(load_task(self.task)(TaskConfig(n=self.n, family=self.family, options=self.options)))
        needed = f"no reader is always right with fewer than {bound.bits_needed:,.6g} bits of state"
        print(f"{self.task}, {bound.what}: {needed}; no reader's accuracy is above")
        for b in bits:
            whole = "" if bound.exact_trace is None else f" of answers, {bound.exact_trace(b)} of whole traces"
            print(f"{b} bits: {bound.ceiling(b)}{whole}")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Cut runs' models at the end of the sequence, carry fewer bits of their state, decode on; prints a table of
    accuracy against bits and one JSON object a run."""

    run_dirs: Annotated[Positional[tuple[Path, ...]], arg(metavar="RUN_DIR...")]
    samples: Annotated[int, arg(help="samples of the test split; 0 means as many as the run's own")] = 0
    bits: Annotated[str, arg(help="bits an element: 0 to 16; no bits means the mean")] = "0,1,2,3,4,6,8,16"
    ranks: Annotated[
        str,
        arg(help='principal components to carry instead of the elements, as far as a state has them; "" means none'),
    ] = "4,16,64"
    rounding: Annotated[Literal["nearest", "stochastic"], arg(help="of an element to its levels")] = "nearest"
    seed: Annotated[int, arg(help="of stochastic rounding")] = 0
    retriever: Annotated[RetrieverName | None, arg(help="default: the fast one where the task has one")] = None
    csv: Annotated[Path | None, arg(help="write the rows of all runs there")] = None

    def run(self) -> None:
        from retrieval_gap.experiments.probe import ProbeSettings, probe_runs
        from retrieval_gap.experiments.run import RunDirectory
        from retrieval_gap.theory.quantise import MOST_BITS

        if not 0 <= self.samples < 2**63:
            raise UsageError(f"--samples {self.samples} is out of range: 0 to 2**63 - 1 are wanted")
        if not 0 <= self.seed < 2**63:
            raise UsageError(f"--seed {self.seed} is out of range: 0 to 2**63 - 1 are wanted")
        settings = ProbeSettings(
            samples=self.samples or None,
            bits=_whole_numbers("--bits", self.bits, 0, MOST_BITS),
            ranks=_whole_numbers("--ranks", self.ranks, 1, MAX_RANK) if self.ranks else [],
            rounding=self.rounding,
            seed=self.seed,
            retriever=self.retriever,
        )
        probe_runs([RunDirectory(path) for path in self.run_dirs], settings, self.csv)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Run every cell of a preset; finished cells are skipped, partial ones go on."""

    preset: Annotated[Positional[str], arg(metavar="PRESET", help="demo, cpu, paper, ...")]
    executor: Annotated[Literal["local", "ray"], arg(help="this machine, or a Ray cluster (not there yet)")] = "local"
    device: Device = "auto"
    workers: Annotated[int, arg(help="processes on the CPU, one thread each; 0 means one a core")] = 0
    per_gpu: Annotated[int, arg(help="processes that share each GPU; 0 means one")] = 0
    only: Only = ""
    max_minutes: Annotated[Number, arg(help="stop all after this time, and tell what is left; 0 means never")] = 0.0
    dry_run: Annotated[bool, arg(help="print what is done of the cells, and what they will cost")] = False
    keep_weights: KeepWeights = False
    csv: Annotated[Path | None, arg(help="write the finished rows of the preset there")] = None
    runs_dir: RunsDir = Path("runs")

    def run(self) -> None:
        from retrieval_gap.experiments.sweep import sweep

        if self.executor == "ray":
            raise UsageError("--executor ray is not there yet; --executor local runs on this machine")
        sweep(
            self.preset,
            runs_dir=self.runs_dir,
            device=self.device,
            workers=self.workers,
            per_gpu=self.per_gpu,
            only=self.only,
            max_minutes=self.max_minutes,
            dry_run=self.dry_run,
            csv=self.csv,
            keep_weights=self.keep_weights,
        )


@dataclass(frozen=True, kw_only=True)
class Results:
    """Table of the runs in a folder: done, running, partial, failed; with a preset, what is missing too."""

    preset: Annotated[str, arg(help="show the cells of this preset only, and the missing ones")] = ""
    csv: Annotated[Path | None, arg(help="write the finished rows there")] = None
    runs_dir: RunsDir = Path("runs")

    def run(self) -> None:
        from retrieval_gap.experiments.results import show_results

        show_results(self.runs_dir, self.preset, self.csv)


@dataclass(frozen=True, kw_only=True)
class Pack:
    """Write runs into one file, to be unpacked elsewhere."""

    pack: Annotated[Positional[Path], arg(metavar="OUT.tar")]
    only: Only = ""
    runs_dir: RunsDir = Path("runs")

    def run(self) -> None:
        from retrieval_gap.experiments.pack import pack

        pack(self.pack, self.runs_dir, self.only)


@dataclass(frozen=True, kw_only=True)
class Unpack:
    """Add the runs of a pack to a folder of runs; of a run in both the further one is kept."""

    pack: Annotated[Positional[Path], arg(metavar="IN.tar")]
    runs_dir: RunsDir = Path("runs")

    def run(self) -> None:
        from retrieval_gap.experiments.pack import unpack

        unpack(self.pack, self.runs_dir)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Carry runs from one machine to another."""

    action: Annotated[
        Annotated[Pack, subcommand("pack", prefix_name=False)]
        | Annotated[Unpack, subcommand("unpack", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> None:
        self.action.run()


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Draw a figure from result tables (PNG and SVG)."""

    figure: Annotated[Positional[str], arg(metavar="FIGURE", help="fig2_istree, fig_state_bits, idea, ...")]
    results: Annotated[Path | None, arg(help="result table; default: the figure's own in results/")] = None
    out: Annotated[Path, arg(help="folder for the pictures")] = Path("out")

    def run(self) -> None:
        from plots import draw

        for path in draw(self.figure, self.results, self.out):
            print(path)


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure side by side with what a user would use instead; prints ratios from one run."""

    name: Annotated[Positional[str], arg(metavar="NAME", help="one benchmark; default all")] = ""
    json: Annotated[bool, arg(help="one JSON object a line")] = False

    def run(self) -> None:
        from benchmarks import print_benchmarks

        print_benchmarks(self.name, as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """What this machine has, which backend each part will use, and why."""

    def run(self) -> None:
        from retrieval_gap.doctor import print_report

        print_report()


COMMANDS: dict[str, Callable[..., Command]] = {
    "sample": Sample,
    "train": Train,
    "eval": Eval,
    "transfer": Transfer,
    "probe": Probe,
    "bound": Bound,
    "sweep": Sweep,
    "results": Results,
    "runs": Runs,
    "plot": Plot,
    "bench": Bench,
    "doctor": Doctor,
}
# Commands about one task, whose own options they take as flags.
TASK_COMMANDS = ("sample", "train", "bound")
T = TypeVar("T")


def _whole_numbers(flag: str, text: str, smallest: int, largest: int) -> list[int]:
    """The numbers of a list such as 0,4,16.  Raises UsageError for what is no whole number in this range."""
    words = text.split(",")
    if not all(re.fullmatch(r"\s*\d{1,19}\s*", word) and smallest <= int(word) <= largest for word in words):
        wanted = f"whole numbers from {smallest} to {largest}, such as 4,16"
        raise UsageError(f"{flag} {text} will not do: {wanted}, are wanted")
    return [int(word) for word in words]


def main(argv: Sequence[str] | None = None) -> int:
    """Parses and runs one command; the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()  # None where they are closed
    try:
        _guarded(_parse([word for word in words if word != "--debug"]).run)
        sys.stdout.flush()
    except (UsageError, TaskError) as error:
        return _failed(error, str(error), 2, debug)
    except BrokenPipeError:
        _drop_output()  # the reader went away (`| head`)
    except KeyboardInterrupt as error:
        return _failed(error, "interrupted", 1, debug)
    except RunError as error:
        return _failed(error, str(error), 1, debug)
    except OSError as error:
        return _failed(error, f"{error.filename or 'output'}: {error.strerror or error}", 1, debug)
    except Exception as error:
        return _failed(error, f"{fault(error)} (--debug shows the traceback)", 1, debug)
    return 0


def _guarded(work: Callable[[], T]) -> T:
    """Raises RunError where a user's file ends the process, BrokenPipeError where rich would."""
    try:
        return work()
    except SystemExit as stop:
        if isinstance(stop.__context__, BrokenPipeError):
            raise stop.__context__ from None
        raise RunError(fault(stop)) from stop


def _parse(words: list[str]) -> Command:
    """Raises UsageError, one line, where tyro would print a box; SystemExit(0) after --help."""
    options = ""
    if words and words[0] in TASK_COMMANDS:
        from retrieval_gap.task_flags import split_task_flags

        words, options = _guarded(lambda: split_task_flags(words))
    if shutil.get_terminal_size().columns < NARROWEST:
        os.environ["COLUMNS"] = str(NARROWEST)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            command: Command = tyro.extras.subcommand_cli_from_dict(
                COMMANDS, args=words, prog="retrieval-gap", description=__doc__.split("\n\n")[1]
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            sys.stdout.flush()
            raise
        raise UsageError(_one_line(told.getvalue())) from stop
    if isinstance(command, Train):
        return replace(command, config=replace(command.config, options=options))
    return replace(command, options=options) if isinstance(command, Sample | Bound) else command


def _one_line(box: str) -> str:
    """What a box of tyro's says, without its frame and its title."""
    lines = [re.sub(r"[│╭╰─╮╯]", " ", line).strip() for line in box.splitlines()[1:]]
    text = " ".join(line for line in lines if line)
    return re.sub(r"\s+", " ", text).replace(" For full helptext, ", "; ")


def _failed(error: BaseException, text: str, status: int, debug: bool) -> int:
    if debug:
        raise error
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()
    with contextlib.suppress(OSError):
        print("retrieval-gap:", " ".join(text.split()) or type(error).__name__, file=sys.stderr)
    return status


def _nowhere() -> TextIO:
    return open(os.devnull, "w")


def _drop_output() -> None:
    """What is left to write goes nowhere, so that the interpreter does not stumble over it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
