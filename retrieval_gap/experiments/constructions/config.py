"""The settings of a row about a construction, and the construction and task that they give."""

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.machine.field_kinds import check_fields, config_from
from retrieval_gap.runs.directory import RunDirectory
from retrieval_gap.runs.experiment import Experiment, Row, RunOptions, hash_of
from retrieval_gap.tables.rows import COLUMNS
from retrieval_gap.tasks.api import Mode, Split, Task, TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.constructions import Construction, Precision, builder
from retrieval_gap.theory.constructions.machines import MachineRun, load_machine, simulate
from retrieval_gap.theory.constructions.precision import FEWEST_BITS, MOST_BITS
from retrieval_gap.theory.constructions.turing_hybrid import WriteTask, build_turing_hybrid
from retrieval_gap.theory.constructions.turing_rnn import build_turing
from retrieval_gap.theory.constructions.turing_text import MachineTask

EVAL_SPLIT: Split = "test"
MACHINE_WAYS = ("rnn_rag", "hybrid")
# Columns after the contract's.  theorem: its number.  precision_bits, stated_bits: bits per number, as run and as
# proved.  smallest_bits: the fewest that are exact, if measured.  parameter_bits: bits of all parameters.
# computed_numbers: numbers of embedding, positions and head, computed and not stored.  recurrent_bits: the part of the
# state's bits in recurrent layers.  steps: mean number of tokens after the prompt.  context_tokens: length of
# the longest sample.  machine_steps: of a Turing machine.
OWN_COLUMNS = (
    "theorem", "precision_bits", "stated_bits", "smallest_bits", "parameter_bits", "computed_numbers",
    "recurrent_bits", "steps", "context_tokens", "machine_steps",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Setup(Experiment):
    """A construction and the problems that it solves.

    how: "transformer", "rnn_rag", ... (`builders()` has all).
    samples: number of problems.
    precision: bits per number, "stated" for as many as its proof needs, or "exact" for float64.
    smallest: also measure the fewest bits that are exact, on a few samples.
    """

    kind: ClassVar[str] = "constructions"
    columns: ClassVar[Sequence[str]] = (*COLUMNS, *OWN_COLUMNS)
    measures: ClassVar[Sequence[str]] = (
        "accuracy", "exact_trace", "steps", "precision_bits", "stated_bits", "smallest_bits", "state_bits",
    )  # fmt: skip

    how: str
    samples: int = 200
    precision: str = "stated"
    smallest: bool = False

    def __post_init__(self) -> None:
        check_fields(self)

    @abc.abstractmethod
    def build_task(self) -> Task:
        """The task in the view that the construction writes.  Raises UsageError or TaskError if there is none."""

    @abc.abstractmethod
    def build_with(self, precision: Precision) -> Construction:
        """The construction with numbers of this precision."""

    def own_columns(self) -> Row:
        """The columns that depend on the kind of setup."""
        return {"machine_steps": None}

    @abc.abstractmethod
    def described(self) -> dict[str, Any]:
        """Task, n, family, options and seed."""

    def filter_values(self) -> Mapping[str, Any]:
        mine = {"how": self.how, "samples": self.samples, "precision": self.precision, "smallest": self.smallest}
        return self.described() | mine

    def stated_bits(self) -> int:
        """Bits per number that are enough for this size, by the construction's proof."""
        return self.build_with(Precision()).stated_precision

    def build(self) -> Construction:
        """The construction.  Raises UsageError for an invalid precision."""
        if self.precision == "exact":
            return self.build_with(Precision())
        bits = self.stated_bits() if self.precision == "stated" else read_bits(self.precision)
        if bits > MOST_BITS:
            raise UsageError(
                f"{self.label()}: {bits} bits a number are stated, and {MOST_BITS} can be had; --precision exact has 64"
            )
        return self.build_with(Precision(bits))

    def validate(self) -> None:
        if self.samples < 1:
            raise UsageError(f"{self.label()}: samples = {self.samples} is invalid: expected 1 or more")
        self.build()

    def execute(self, run: RunDirectory, options: RunOptions) -> list[Row]:
        from retrieval_gap.experiments.constructions.rows import measure

        return [measure(self)]

    @classmethod
    def from_json(cls, value: dict[str, Any], where: str) -> "Setup":
        return config_from(OnMachine, value, where) if "machine" in value else config_from(OnTask, value, where)


@dataclass(frozen=True, kw_only=True)
class OnTask(Setup):
    """The first samples of a task's test split."""

    task: str
    n: int
    family: str = ""
    options: str = ""
    seed: int = 0

    def build_task(self) -> Task:
        built = builder(self.task, self.how)
        return (built.view or load_task(self.task))(self._task_config(built.mode))

    def build_with(self, precision: Precision) -> Construction:
        built = builder(self.task, self.how)
        return built.build(self._task_config(built.mode), precision)

    def _task_config(self, mode: Mode) -> TaskConfig:
        return TaskConfig(
            n=self.n, mode=mode, family=self.family, split=EVAL_SPLIT, seed=self.seed, options=self.options
        )

    def label(self) -> str:
        return "-".join(filter(None, [self.task, self.how, f"n{self.n}", self.family]))

    def described(self) -> dict[str, Any]:
        return {"task": self.task, "n": self.n, "family": self.family, "options": self.options, "seed": self.seed}

    def hash(self) -> str:
        return hash_of(self.to_json() | {"options": self.build_task().config.options})


@dataclass(frozen=True, kw_only=True)
class OnMachine(Setup):
    """A Turing machine on a word.

    machine: a name, or the path of a JSON file.  max_steps: most steps of the machine.
    """

    machine: str
    word: str
    samples: int = 1
    max_steps: int = 1_000

    def build_task(self) -> "MachineTask | WriteTask":
        if self.how not in MACHINE_WAYS:
            raise unknown("construction of Turing machines", self.how, MACHINE_WAYS)
        kind = MachineTask if self.how == "rnn_rag" else WriteTask
        return kind(load_machine(self.machine), self.word, self.max_steps)

    def build_with(self, precision: Precision) -> Construction:
        task = self.build_task()
        return build_turing_hybrid(task, precision) if isinstance(task, WriteTask) else build_turing(task, precision)

    def label(self) -> str:
        return f"turing-{Path(self.machine).stem}-{self.how}"

    def hash(self) -> str:
        return hash_of(self.to_json() | {"machine": repr(load_machine(self.machine))})

    def foreign(self) -> list[str]:
        return [self.machine] if self.machine.endswith(".json") else []

    def described(self) -> dict[str, Any]:
        return {
            "task": "turing",
            "n": len(load_machine(self.machine).word(self.word)),
            "family": self.machine,
            "options": f"word={self.word}",
            "seed": 0,
        }

    def own_columns(self) -> Row:
        return {name: self.described()[name] for name in ("family", "options")} | {
            "machine_steps": self.outcome().steps
        }

    def outcome(self) -> MachineRun:
        """The result of an ordinary simulator."""
        machine = load_machine(self.machine)
        return simulate(machine, machine.word(self.word), self.max_steps)


def read_bits(text: str) -> int:
    """Read a number of bits.  Raises UsageError unless it is from FEWEST_BITS to MOST_BITS."""
    if not text.isdecimal() or not FEWEST_BITS <= int(text) <= MOST_BITS:
        raise UsageError(f"--precision {text} is invalid: expected stated, exact or {FEWEST_BITS} to {MOST_BITS}")
    return int(text)
