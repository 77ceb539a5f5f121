"""What decides a row about a construction, and the construction and task that it stands for."""

import abc
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.tasks.api import Mode, Split, Task, TaskConfig
from retrieval_gap.tasks.registry import load_task
from retrieval_gap.theory.constructions import Construction, Precision, builder
from retrieval_gap.theory.constructions.machines import Outcome, load_machine, simulate
from retrieval_gap.theory.constructions.precision import FEWEST_BITS, MOST_BITS
from retrieval_gap.theory.constructions.turing_hybrid import WriteTask, build_turing_hybrid
from retrieval_gap.theory.constructions.turing_rnn import build_turing
from retrieval_gap.theory.constructions.turing_text import MachineTask

EVAL_SPLIT: Split = "test"
MACHINE_WAYS = ("rnn_rag", "hybrid")


@dataclass(frozen=True, kw_only=True)
class Setup(abc.ABC):
    """A construction and the problems it is given.

    how: "transformer", "rnn_rag", ... (`builders()` has all).
    samples: how many problems.
    precision: bits of a number, "stated" for those that its proof says are enough, or "exact" for float64.
    """

    kind: ClassVar[str]

    how: str
    samples: int = 200
    precision: str = "stated"

    @abc.abstractmethod
    def build_task(self) -> Task:
        """The task in the view that the construction writes.  Raises UsageError and TaskError for what is none."""

    @abc.abstractmethod
    def build_with(self, precision: Precision) -> Construction:
        """The construction with numbers of this precision."""

    @abc.abstractmethod
    def label(self) -> str:
        """A readable name."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """What the stated precision is a function of."""

    @abc.abstractmethod
    def canonical(self) -> dict[str, Any]:
        """What the hash is of."""

    def own_columns(self) -> dict[str, Any]:
        """Of a row, what only such a setup has."""
        return {}

    def hash(self) -> str:
        """12 hex digits: the same configuration, the same row."""
        text = json.dumps(self.canonical() | {"kind": self.kind}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def stated_bits(self) -> int:
        """Bits of a number that are enough for this size, by the construction's proof."""
        return self.build_with(Precision()).stated_precision(self.size)

    def build(self) -> Construction:
        """Raises UsageError for a precision that is none."""
        if self.precision == "exact":
            return self.build_with(Precision())
        bits = self.stated_bits() if self.precision == "stated" else read_bits(self.precision)
        if bits > MOST_BITS:
            raise UsageError(
                f"{self.label()}: {bits} bits a number are stated, and {MOST_BITS} can be had; --precision exact has 64"
            )
        return self.build_with(Precision(bits))


@dataclass(frozen=True, kw_only=True)
class OnTask(Setup):
    """The first samples of a task's test split."""

    kind: ClassVar[str] = "construction"

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
        return " ".join(filter(None, [self.task, self.how, f"n={self.n}", self.family, self.options]))

    @property
    def size(self) -> int:
        return self.n

    def canonical(self) -> dict[str, Any]:
        return asdict(replace(self, options=self.build_task().config.options))


@dataclass(frozen=True, kw_only=True)
class OnMachine(Setup):
    """A Turing machine on a word.

    machine: a name, or the path of a JSON file.  max_steps: of the machine.
    """

    kind: ClassVar[str] = "turing"

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
        return f"turing {self.machine} {self.how} {self.word}"

    @property
    def size(self) -> int:
        return self.max_steps

    def canonical(self) -> dict[str, Any]:
        return asdict(self) | {"machine": repr(load_machine(self.machine))}

    def own_columns(self) -> dict[str, Any]:
        return {"family": self.machine, "options": f"word={self.word}", "machine_steps": self.outcome().steps}

    def outcome(self) -> Outcome:
        """What an ordinary simulator says."""
        machine = load_machine(self.machine)
        return simulate(machine, machine.word(self.word), self.max_steps)


def read_bits(text: str) -> int:
    """Bits of a number.  Raises UsageError for what is no number of them that can be had."""
    if not text.isdecimal() or not FEWEST_BITS <= int(text) <= MOST_BITS:
        raise UsageError(f"--precision {text} will not do: stated, exact or {FEWEST_BITS} to {MOST_BITS} is wanted")
    return int(text)
