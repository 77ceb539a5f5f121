"""`retrieval-gap sample`: what a task's problems look like."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import Positional, Suppress, arg

from retrieval_gap.commands.flags import DataSeed, Family
from retrieval_gap.experiments.trained.config import ProblemSize
from retrieval_gap.machine.errors import UsageError
from retrieval_gap.tasks.api import Mode, Split


@dataclass(frozen=True, kw_only=True)
class SampleCommand:
    """Print samples of a task, as text or as one JSON object per line.  A task's own options are flags too."""

    task: Annotated[Positional[str], arg(metavar="TASK", help="a task's name, or a .py file that defines one")]
    n: ProblemSize
    mode: Mode = "direct"
    family: Family = ""
    split: Split = "train"
    seed: DataSeed = 0
    count: Annotated[int, arg(help="number of samples to print, from number FIRST on")] = 1
    first: Annotated[int, arg(help="number of the first sample to print")] = 0
    format: Literal["text", "jsonl"] = "text"
    options: Suppress[str] = ""

    def run(self) -> None:
        from retrieval_gap.commands.sample_records import print_samples
        from retrieval_gap.experiments.trained.trial import try_task
        from retrieval_gap.tasks.api import TaskConfig
        from retrieval_gap.tasks.registry import load_task

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
