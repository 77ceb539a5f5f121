"""`retrieval-gap heads`: train and compare heads on the token states of a language model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg, subcommand

from retrieval_gap.choices import CHECKPOINT_SECONDS
from retrieval_gap.commands.flags import CheckpointSeconds, RunsDir, check_seconds, whole_numbers
from retrieval_gap.machine.errors import UsageError

if TYPE_CHECKING:
    from retrieval_gap.experiments.heads.config import HeadsConfig
    from retrieval_gap.runs.known import KnownRun

MOST_SEEDS, LARGEST = 1000, 2**31 - 1
HeadRuns = Path("runs/heads")


@dataclass(frozen=True, kw_only=True)
class HeadsRunCommand:
    """Train heads on the token states of a language model and compare them on the test split. All heads have the same
    number of parameters and the same search for a learning rate. Finished runs are skipped."""

    dataset: Annotated[
        Positional[str], arg(metavar="DATASET", help="data set: swap_tracking, copa, ncbi, ... (docs/heads.md)")
    ]
    model: Annotated[str, arg(help="folder or name of a transformers model, or a GGUF file")]
    head: Annotated[str, arg(help="head, or several: mean, attention, bigru, gru+pool=max, my_head.py, ...")]
    data: Annotated[Path | None, arg(help="file or folder of a public data set")] = None
    n: Annotated[int, arg(help="generated data sets: most words in a text")] = 64
    samples: Annotated[int, arg(help="generated data sets: training examples")] = 2000
    test_samples: Annotated[int, arg(help="generated data sets: test examples; validation has half as many")] = 1000
    seeds: Annotated[int, arg(help="number of seeds, counted from 0")] = 5
    control: Annotated[
        Literal["none", "shuffle_words", "shuffle_states", "shuffle_both"],
        arg(help="what to shuffle: the words before the model, the states before the head, or both"),
    ] = "none"
    window: Annotated[
        str, arg(help="shuffle within windows of so many places, or several: 2,4,8; 0 means the whole text")
    ] = "0"
    layer: Annotated[int, arg(help="layer whose states are read; 0 is the embeddings, -1 the last layer")] = -1
    half: Annotated[Literal["encoder", "decoder"], arg(help="encoder-decoder models: which half's states are read")] = (
        "encoder"
    )
    copies: Annotated[int, arg(help="2: the model reads the text twice, the head the second copy")] = 1
    tune: Annotated[bool, arg(help="also train the model, not only the head; for small models")] = False
    tune_lr: Annotated[float, arg(help="with --tune: the model's learning rate; --lr is the head's")] = 5e-5
    parameters: Annotated[int, arg(help="parameters of every head, within 2 percent")] = 100_000
    lr: Annotated[str, arg(help="learning rates to try; the best on validation is kept")] = "3e-4,1e-3,3e-3"
    steps: Annotated[int, arg(help="most training steps at each learning rate")] = 1500
    workers: Annotated[int, arg(help="worker processes, one thread each; 0 means one per core")] = 0
    checkpoint_seconds: CheckpointSeconds = CHECKPOINT_SECONDS
    csv: Annotated[Path | None, arg(help="also write the comparisons to this CSV file")] = None
    runs_dir: RunsDir = HeadRuns

    def run(self) -> None:
        from retrieval_gap.runs.executors import ExecutorOptions
        from retrieval_gap.runs.experiment import RunOptions
        from retrieval_gap.runs.known import planned_runs
        from retrieval_gap.runs.sweep import SweepOptions, sweep
        from retrieval_gap.tables.rows import make_room_for_table

        if self.csv is not None:
            make_room_for_table(self.csv, ("dataset",))
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
    """Compare finished heads: scores, paired differences, and the smallest difference that the test can show."""

    csv: Annotated[
        Path | None,
        arg(help="also write the table to this CSV file, with scores by the position of the deciding sentence"),
    ] = None
    runs_dir: RunsDir = HeadRuns

    def run(self) -> None:
        from retrieval_gap.runs.known import known_runs
        from retrieval_gap.tables.rows import make_room_for_table

        if self.csv is not None:
            make_room_for_table(self.csv, ("dataset",))
        show(known_runs(self.runs_dir), self.csv)


@dataclass(frozen=True, kw_only=True)
class EditsCommand:
    """Make a data set of edited MBPP programs: does a program still pass its tests? This runs MBPP's code, each program
    in its own process with limits on time, memory and files."""

    data: Annotated[Path, arg(help="file of MBPP's sanitised part, or its folder")]
    out: Annotated[Path, arg(help="output file, for `heads run own --data FILE`")]
    seed: Annotated[int, arg(help="seed for the choice of edits")] = 0
    tasks: Annotated[int, arg(help="use so many problems from the start of the file; 0 means all")] = 0

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
    """Print the comparisons of runs and write them to `csv`; then raise RunError for runs that cannot be read.

    Raises UsageError if no run of heads is done.
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
    from retrieval_gap.tables.rows import save_table

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
            save_table(csv, TABLE_COLUMNS, rows)
    raise_unread(troubles)


@dataclass(frozen=True, kw_only=True)
class HeadsCommand:
    """RNN heads on the token states of a language model: does reading them in order help?"""

    action: Annotated[
        Annotated[HeadsRunCommand, subcommand("run", prefix_name=False)]
        | Annotated[HeadsTableCommand, subcommand("table", prefix_name=False)]
        | Annotated[EditsCommand, subcommand("mbpp", prefix_name=False)],
        arg(name=""),
    ]

    def run(self) -> None:
        self.action.run()
