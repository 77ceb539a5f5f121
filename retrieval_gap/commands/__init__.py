"""One dataclass per subcommand of `retrieval-gap`: its fields are the flags, and `run` does the work.

A command imports what it needs beyond its flags when it runs, so that `--help` and wrong use answer at once.
"""

from collections.abc import Callable
from typing import Protocol

from retrieval_gap.commands.construct import ConstructCommand
from retrieval_gap.commands.data import DataCommand
from retrieval_gap.commands.heads import HeadsCommand
from retrieval_gap.commands.lists import ArchsCommand, TasksCommand
from retrieval_gap.commands.machine import BenchCommand, DoctorCommand
from retrieval_gap.commands.memory import MemoryCommand
from retrieval_gap.commands.plot import PlotCommand
from retrieval_gap.commands.pretrained import PretrainedCommand
from retrieval_gap.commands.results import CompareCommand, ReportCommand, ResultsCommand
from retrieval_gap.commands.runs import RunsCommand
from retrieval_gap.commands.sample import SampleCommand
from retrieval_gap.commands.sweep import SweepCommand
from retrieval_gap.commands.theory import BoundCommand, ProbeCommand
from retrieval_gap.commands.train import EvalCommand, TrainCommand, TransferCommand


class Command(Protocol):
    def run(self) -> None: ...


COMMANDS: dict[str, Callable[..., Command]] = {
    "sample": SampleCommand,
    "tasks": TasksCommand,
    "archs": ArchsCommand,
    "train": TrainCommand,
    "eval": EvalCommand,
    "transfer": TransferCommand,
    "probe": ProbeCommand,
    "bound": BoundCommand,
    "construct": ConstructCommand,
    "sweep": SweepCommand,
    "pretrained": PretrainedCommand,
    "memory": MemoryCommand,
    "heads": HeadsCommand,
    "results": ResultsCommand,
    "compare": CompareCommand,
    "runs": RunsCommand,
    "data": DataCommand,
    "plot": PlotCommand,
    "report": ReportCommand,
    "bench": BenchCommand,
    "doctor": DoctorCommand,
}
# Commands about one task; they take the task's own options as flags.
TASK_COMMANDS = ("sample", "train", "bound", "construct")
