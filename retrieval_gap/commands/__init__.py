"""One dataclass a subcommand of `retrieval-gap`, flags derived from its fields; `run` does the work.

What a command needs beyond its flags is imported when it runs, so that `--help` and wrong use answer at once.
"""

from collections.abc import Callable
from typing import Protocol

from retrieval_gap.commands.construct import Construct
from retrieval_gap.commands.data import Data
from retrieval_gap.commands.heads import Heads
from retrieval_gap.commands.lists import Archs, Tasks
from retrieval_gap.commands.machine import Bench, Doctor
from retrieval_gap.commands.memory import Memory
from retrieval_gap.commands.plot import Plot
from retrieval_gap.commands.pretrained import Pretrained
from retrieval_gap.commands.results import Compare, Report, Results
from retrieval_gap.commands.runs import Runs
from retrieval_gap.commands.sample import Sample
from retrieval_gap.commands.sweep import Sweep
from retrieval_gap.commands.theory import Bound, Probe
from retrieval_gap.commands.train import Eval, Train, Transfer


class Command(Protocol):
    def run(self) -> None: ...


COMMANDS: dict[str, Callable[..., Command]] = {
    "sample": Sample,
    "tasks": Tasks,
    "archs": Archs,
    "train": Train,
    "eval": Eval,
    "transfer": Transfer,
    "probe": Probe,
    "bound": Bound,
    "construct": Construct,
    "sweep": Sweep,
    "pretrained": Pretrained,
    "memory": Memory,
    "heads": Heads,
    "results": Results,
    "compare": Compare,
    "runs": Runs,
    "data": Data,
    "plot": Plot,
    "report": Report,
    "bench": Bench,
    "doctor": Doctor,
}
# Commands about one task, whose own options they take as flags.
TASK_COMMANDS = ("sample", "train", "bound", "construct")
