"""`retrieval-gap sweep`: the cells of a preset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from retrieval_gap.commands.flags import CheckpointSeconds, Device, KeepWeights, Log, Only, RunsDir, check_seconds
from retrieval_gap.experiments.trained.config import Number
from retrieval_gap.training.config import CHECKPOINT_SECONDS


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Run every cell of a preset; finished cells are skipped, partial ones go on."""

    preset: Annotated[Positional[str], arg(metavar="PRESET", help="demo, cpu, paper, ...")]
    executor: Annotated[
        Literal["local", "ray"], arg(help="processes on this machine, or tasks of Ray (docs/sweeps.md)")
    ] = "local"
    address: Annotated[str, arg(help="of a Ray cluster, HOST:PORT or auto; default: RAY_ADDRESS, or a Ray here")] = ""
    device: Device = "auto"
    workers: Annotated[int, arg(help="processes on the CPU, one thread each; 0 means one a core")] = 0
    per_gpu: Annotated[int, arg(help="processes that share each GPU; 0 means one")] = 0
    tries: Annotated[int, arg(help="how often a cell may fail before it is set aside")] = 3
    only: Only = ""
    shard: Annotated[str, arg(help="I/N: every N-th of these cells from the I-th on, for the tasks of an array")] = ""
    max_minutes: Annotated[Number, arg(help="stop all after this time, and tell what is left; 0 means never")] = 0.0
    dry_run: Annotated[bool, arg(help="print what is done of the cells, and what they will cost")] = False
    keep_weights: KeepWeights = False
    checkpoint_seconds: CheckpointSeconds = CHECKPOINT_SECONDS
    log: Log = "none"
    csv: Annotated[Path | None, arg(help="write the finished rows of the preset there")] = None
    runs_dir: RunsDir = Path("runs")

    def run(self) -> None:
        from retrieval_gap.experiments.grids import preset_cells
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
        cells = preset_cells(self.preset)
        if self.dry_run:
            print_plan(cells, options, self.runs_dir)
            return
        run = RunOptions(
            runs_dir=self.runs_dir,
            keep_weights=self.keep_weights,
            checkpoint_seconds=self.checkpoint_seconds,
            log=self.log,
        )
        sweep(cells, options, run)
