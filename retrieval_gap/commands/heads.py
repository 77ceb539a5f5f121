"""`retrieval-gap heads`: heads over the token states of a language model, and how they compare."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from retrieval_gap.commands.flags import CheckpointSeconds, RunsDir, check_seconds, whole_numbers
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.training.config import CHECKPOINT_SECONDS

if TYPE_CHECKING:
    from retrieval_gap.experiments.heads.config import HeadsConfig
    from retrieval_gap.runs.known import KnownRun

MOST_SEEDS, LARGEST = 1000, 2**31 - 1
HeadRuns = Path("runs/heads")


@dataclass(frozen=True, kw_only=True)
class HeadsRunCommand:
    """Train heads on a model's token states, all at one number of parameters and with one search, and compare them on
    the test split.  What is done is not done again."""

    dataset: Annotated[Positional[str], arg(metavar="DATASET", help="swap_tracking, copa, ncbi, ... (docs/heads.md)")]
    model: Annotated[str, arg(help="folder or name of a transformers model, or a GGUF file")]
    head: Annotated[str, arg(help="mean, attention, bigru, gru+pool=max, my_head.py, ...; or several: mean,bigru")]
    data: Annotated[Path | None, arg(help="of a public set: its file or folder")] = None
    n: Annotated[int, arg(help="of a generated set: words of a text at the most")] = 64
    samples: Annotated[int, arg(help="of a generated set: examples of training")] = 2000
    test_samples: Annotated[int, arg(help="of a generated set: examples of the test; half as many choose")] = 1000
    seeds: Annotated[int, arg(help="how many, from 0 on")] = 5
    control: Annotated[
        Literal["none", "shuffle_words", "shuffle_states", "shuffle_both"],
        arg(help="what loses its order: the words before the model, the states before the head"),
    ] = "none"
    window: Annotated[str, arg(help="places that a shuffle stays within, or several: 2,4,8; 0 means the text")] = "0"
    layer: Annotated[int, arg(help="0 is the embeddings, -1 the last layer")] = -1
    half: Annotated[Literal["encoder", "decoder"], arg(help="of an encoder-decoder: whose states")] = "encoder"
    copies: Annotated[int, arg(help="2: the model reads a text twice, the head its second copy")] = 1
    tune: Annotated[bool, arg(help="train the model along with the head; for small models")] = False
    tune_lr: Annotated[float, arg(help="with --tune: the model's learning rate; --lr is the head's")] = 5e-5
    parameters: Annotated[int, arg(help="of every head, within 2 percent")] = 100_000
    lr: Annotated[str, arg(help="learning rates; the best on the validation split is taken")] = "3e-4,1e-3,3e-3"
    steps: Annotated[int, arg(help="of training at each rate, at the most")] = 1500
    workers: Annotated[int, arg(help="processes, one thread each; 0 means one a core")] = 0
    checkpoint_seconds: CheckpointSeconds = CHECKPOINT_SECONDS
    csv: Annotated[Path | None, arg(help="write the table of comparisons there")] = None
    runs_dir: RunsDir = HeadRuns

    def run(self) -> None:
        from retrieval_gap.runs.executors import ExecutorOptions
        from retrieval_gap.runs.experiment import RunOptions
        from retrieval_gap.runs.known import planned_runs
        from retrieval_gap.runs.sweep import SweepOptions, sweep

        check_seconds(self.checkpoint_seconds)
        cells = self._cells()
        options = SweepOptions(executor=ExecutorOptions(workers=self.workers))
        how = RunOptions(
            runs_dir=self.runs_dir, checkpoint_seconds=self.checkpoint_seconds, threads=1, keep_weights=False
        )
        sweep(cells, options, how)
        show(planned_runs(cells, self.runs_dir), self.csv)

    def _cells(self) -> "list[HeadsConfig]":
        from retrieval_gap.experiments.heads.config import HeadsConfig

        if not 1 <= self.seeds <= MOST_SEEDS:
            raise UsageError(f"--seeds {self.seeds} is out of range: expected 1 to {MOST_SEEDS}")
        windows = whole_numbers("--window", self.window, 0, LARGEST)
        heads = [word for word in self.head.split(",") if word.strip()]
        if not heads:
            raise UsageError("--head names no head")
        return [
            HeadsConfig(
                dataset=self.dataset, model=self.model, head=head, data=str(self.data or ""), n=self.n,
                samples=self.samples, test_samples=self.test_samples, control=self.control, window=window,
                layer=self.layer, half=self.half, copies=self.copies, tune=self.tune, tune_lr=self.tune_lr,
                parameters=self.parameters, lr=self.lr, steps=self.steps, seed=seed,
            )
            for seed in range(self.seeds)
            for window in windows
            for head in heads
        ]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HeadsTableCommand:
    """Compare all heads that were run: scores, paired differences, the smallest difference that the test can show."""

    csv: Annotated[Path | None, arg(help="write the table there, with scores by the place that decides")] = None
    runs_dir: RunsDir = HeadRuns

    def run(self) -> None:
        from retrieval_gap.runs.known import known_runs

        show(known_runs(self.runs_dir), self.csv)


@dataclass(frozen=True, kw_only=True)
class EditsCommand:
    """Run MBPP's tests on edited programs and write them as a set `own`: does a program still pass?  This runs code of
    others, each program in a process of its own with limits of time, memory and files."""

    data: Annotated[Path, arg(help="MBPP's sanitised part, or its folder")]
    out: Annotated[Path, arg(help="file to write, for `heads run own --data FILE`")]
    seed: Annotated[int, arg(help="of the choice of edits")] = 0
    tasks: Annotated[int, arg(help="from the file's start; 0 means all")] = 0

    def run(self) -> None:
        from retrieval_gap.machine.files import make_room_for
        from retrieval_gap.tasks.texts.mbpp import label_edits

        if min(self.seed, self.tasks) < 0:
            raise UsageError("--seed and --tasks are 0 or more")
        make_room_for(self.out)
        count = label_edits(self.data, self.out, seed=self.seed, most_tasks=self.tasks)
        print(f"{count} programs written to {self.out}")


_HOW = """\
Intervals: 95 %, bootstrap over groups of examples and seeds.  detectable: the smallest difference that this test finds
with probability 0.8.  A single seed has no p: it does not tell how much seeds differ.  A score at or below its floor
says nothing of the text's order."""


def show(known: "list[KnownRun]", csv: Path | None) -> None:
    """Prints the comparisons of runs, and writes them where told; then raises RunError for runs that cannot be read.

    Raises UsageError where no run of heads is done.
    """
    from retrieval_gap.experiments.heads.compare import (
        SAME,
        SETTINGS,
        TABLE_COLUMNS,
        conditions,
        table_rows,
        to_lines,
    )
    from retrieval_gap.runs.known import raise_unread
    from retrieval_gap.tables.printing import cells_of, constant, print_constant, print_table
    from retrieval_gap.tables.rows import write_table

    found, troubles = conditions(known)
    rows = table_rows(found)
    if not rows and not troubles:
        raise UsageError("no run of heads is done here; `retrieval-gap heads run` makes one")
    if rows:
        cells = cells_of(to_lines(rows))
        same = constant(cells, ("dataset", "head", "score"))
        print_table(cells, left=[*SAME, *SETTINGS, "versus"], without=same)
        print_constant(same)
        print(_HOW)
        if csv is not None:
            write_table(csv, TABLE_COLUMNS, rows)
            print(f"{len(rows)} rows written to {csv}")
    raise_unread(troubles)


@dataclass(frozen=True, kw_only=True)
class HeadsCommand:
    """Heads over the token states of a language model: does reading them in order help?"""

    action: Annotated[
        Annotated[HeadsRunCommand, subcommand("run", prefix_name=False)]
        | Annotated[HeadsTableCommand, subcommand("table", prefix_name=False)]
        | Annotated[EditsCommand, subcommand("mbpp", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> None:
        self.action.run()
