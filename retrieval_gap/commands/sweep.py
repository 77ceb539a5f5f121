"""`retrieval-gap sweep`: the cells of a preset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from retrieval_gap.commands.flags import Device, KeepWeights, Only, RunsDir
from retrieval_gap.errors import UsageError
from retrieval_gap.experiments.config import Number


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Run every cell of a preset; finished cells are skipped, partial ones go on."""

    preset: Annotated[Positional[str], arg(metavar="PRESET", help="demo, cpu, paper, ...")]
    executor: Annotated[Literal["local", "ray"], arg(help="this machine, or a Ray cluster (not there yet)")] = "local"
    device: Device = "auto"
    workers: Annotated[int, arg(help="processes on the CPU, one thread each; 0 means one a core")] = 0
    per_gpu: Annotated[int, arg(help="processes that share each GPU; 0 means one")] = 0
    only: Only = ""
    shard: Annotated[str, arg(help="I/N: every N-th of these cells from the I-th on, for the tasks of an array")] = ""
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
            shard=self.shard,
            max_minutes=self.max_minutes,
            dry_run=self.dry_run,
            csv=self.csv,
            keep_weights=self.keep_weights,
        )
