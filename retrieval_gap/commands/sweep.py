"""`retrieval-gap sweep`: train the cells of a grid."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, Suppress, arg

from retrieval_gap.choices import CHECKPOINT_SECONDS, Number
from retrieval_gap.commands.flags import CheckpointSeconds, Device, KeepWeights, Log, Only, RunsDir, check_seconds
from retrieval_gap.machine.printing import print_safely, reader_may_leave
from retrieval_gap.runs.experiment import TRAINED


@dataclass(frozen=True, kw_only=True)
class Lists:
    """A grid's own values, or what takes the place of a preset's: each a list with commas, of which every combination
    is a cell.  The same flags as those of `train`.  With a preset they change cells, so that `--mode rag` runs all its
    budgets in that view; `--only mode=rag` chooses among its cells."""

    task: Annotated[str, arg(help="tasks, such as index,istree or my_task.py")] = ""
    mode: Annotated[str, arg(help="views: direct, cot, rag (with a preset, use --only mode=rag)")] = ""
    n: Annotated[str, arg(aliases=("--n-nodes", "--length", "--n-paragraphs"), help="problem sizes, such as 8,16")] = ""
    arch: Annotated[str, arg(help="architectures, such as lstm,mamba,my.py")] = ""
    size: Annotated[str, arg(help="model sizes, such as tiny,tiny+d_model=32")] = ""
    lr: Annotated[str, arg(help="learning rates, such as 1e-3,3e-3")] = ""
    seed: Annotated[str, arg(help="seeds, such as 0,1,2")] = ""
    family: Annotated[str, arg(help="families of problems")] = ""
    embedding: Annotated[str, arg(help="embeddings: sinusoidal (frozen), learned")] = ""
    samples: Annotated[str, arg(help="training samples")] = ""
    batch_size: Annotated[str, arg(help="samples per training step")] = ""
    warmup_samples: Annotated[str, arg(help="samples of learning-rate warm-up")] = ""
    max_grad_norm: Annotated[str, arg(help="gradient clipping; 0 means none")] = ""
    precision: Annotated[str, arg(help="number format of training, such as fp32,bf16")] = ""
    eval_samples: Annotated[str, arg(help="held-out samples decoded at the end")] = ""
    eval_split: Annotated[str, arg(help="test; use validation to choose a setting")] = ""
    eval_every: Annotated[str, arg(help="training samples between two evaluations on validation")] = ""
    stop_at: Annotated[str, arg(help="validation accuracy that ends the training")] = ""
    curriculum: Annotated[str, arg(help="smaller problem sizes to train on first, such as 4+8,8")] = ""


@dataclass(frozen=True, kw_only=True)
class SweepCommand:
    """Train every cell of a grid; finished cells are skipped and partial ones resumed. A grid is a preset (demo, cpu,
    paper, ...), your own file with `cells()`, or lists of values. A task's own options are flags too, with lists if
    they are numbers."""

    grid: Annotated[
        Positional[str], arg(metavar="[PRESET | FILE.py]", help="preset or grid file; none if flags give the grid")
    ] = ""
    lists: Annotated[Lists, arg(name="")]
    paper: Annotated[bool, arg(help="without a preset: use the paper's settings where a flag is not given")] = False
    choose: Annotated[
        Literal["", "lr"], arg(help="lr: choose each model's learning rate on validation, then test it on fresh seeds")
    ] = ""
    executor: Annotated[
        Literal["local", "ray"], arg(help="run cells as local processes or Ray tasks (docs/sweeps.md)")
    ] = "local"
    address: Annotated[
        str, arg(help="address of a Ray cluster, HOST:PORT or auto; default: RAY_ADDRESS, or a local Ray")
    ] = ""
    device: Device = "auto"
    workers: Annotated[int, arg(help="worker processes on the CPU, one thread each; 0 means one per core")] = 0
    per_gpu: Annotated[int, arg(help="worker processes per GPU; 0 means one")] = 0
    tries: Annotated[int, arg(help="failures before a cell is given up")] = 3
    only: Only = ""
    shard: Annotated[str, arg(help="I/N: only every N-th cell, starting at the I-th, for array jobs")] = ""
    max_minutes: Annotated[Number, arg(help="stop after so many minutes and print what is left; 0 means never")] = 0.0
    dry_run: Annotated[bool, arg(help="print each cell's state, cost and command; run nothing")] = False
    keep_weights: KeepWeights = False
    checkpoint_seconds: CheckpointSeconds = CHECKPOINT_SECONDS
    log: Log = "none"
    csv: Annotated[Path | None, arg(help="also write the finished rows of the grid to this CSV file")] = None
    runs_dir: RunsDir = Path("runs")
    options: Suppress[str] = ""

    @reader_may_leave()
    def run(self) -> None:
        from retrieval_gap.experiments.grids import grid_cells
        from retrieval_gap.runs.executors import ExecutorOptions
        from retrieval_gap.runs.experiment import RunOptions
        from retrieval_gap.runs.sweep import SweepOptions, print_plan, sweep

        check_seconds(self.checkpoint_seconds)
        executor = ExecutorOptions(
            name=self.executor,
            address=self.address,
            device=self.device,
            workers=self.workers,
            per_gpu=self.per_gpu,
            tries=self.tries,
        )
        options = SweepOptions(
            only=self.only, shard=self.shard, max_minutes=self.max_minutes, csv=self.csv, executor=executor
        )
        cells = grid_cells(self.grid, vars(self.lists), self.options, paper=self.paper)
        if self.dry_run:
            if self.choose:
                from retrieval_gap.experiments.trained.choose import print_choice_plan

                print_choice_plan(cells, options, self.runs_dir)
            else:
                print_plan(cells, options, self.runs_dir)
            return
        if not self.keep_weights and any(cell.kind == TRAINED for cell in cells):
            print_safely("weights are not kept: `eval`, `probe` and `transfer` of these runs need --keep-weights")
        run = RunOptions(
            runs_dir=self.runs_dir,
            keep_weights=self.keep_weights,
            checkpoint_seconds=self.checkpoint_seconds,
            log=self.log,
        )
        if self.choose:
            from retrieval_gap.experiments.trained.choose import choose_lr

            choose_lr(cells, options, run)
        else:
            sweep(cells, options, run)
