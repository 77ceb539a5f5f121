"""What a stream is: an ordered list of steps, each with an input, a truth, and the time when the truth is known.

Two rules hold for every benchmark.  Stream *i* is a pure function of (data, configuration, i).  The input of a step
holds nothing of its own truth or a later step's, and nothing that is only known later; the truth of step s may be used
at step t only if `known_by(s, t)`.
"""

import abc
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from ..api import TaskError, TaskOptions, read_options, written_options
from ..registry import load_class

PACKAGE = __name__.rpartition(".")[0]
Kind = Literal["choice", "number", "ranked", "text"]
# What a target may be: a label or a sentence, a number, codes with the most important first.
Value = str | float | tuple[str, ...]
MOST_STEPS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is to be predicted.  question: for the model, one sentence.  options: the labels of a choice, known
    beforehand.  unit: the unit of a number."""

    name: str
    kind: Kind
    question: str
    options: tuple[str, ...] = ()
    unit: str = ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """number: t, from 0.  time: when the input is known, a date or a step number.  input: named fields, as text.
    truth: by target; None if nothing is asked.  known_after: when the truth is known, like `time`; None without one.
    now: targets' present values as given in the input, for the floors.  lead: beginning of the answers whose
    likelihood a model scores; "" for none.
    """

    number: int
    time: str | int
    input: Mapping[str, str]
    truth: Mapping[str, Value] | None
    known_after: str | int | None
    now: Mapping[str, Value]
    lead: str = ""

    def text(self) -> str:
        """The input as a person and a model read it."""
        return "\n".join(f"{name}: {value}" for name, value in self.input.items())


@dataclass(frozen=True, kw_only=True)
class Stream:
    """number: i.  name: for a person, such as the place it comes from."""

    number: int
    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """data: the benchmark's file or folder, if it reads one.  steps: most steps of a stream, 0 for all in the data.
    seed: decides where streams start, or what is drawn.  options: the benchmark's own, such as "facts=16 values=8"."""

    data: Path | None = None
    steps: int = 100
    seed: int = 0
    options: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.steps <= MOST_STEPS:
            raise TaskError(f"--steps {self.steps} is outside 0..{MOST_STEPS}")
        if self.steps == 1:
            raise TaskError("--steps 1: a stream of one step has nothing to learn from; expected 2 or more")
        if not 0 <= self.seed < 2**63:
            raise TaskError(f"--seed {self.seed} is outside 0..2**63-1")


class Benchmark(abc.ABC):
    """Base of all stream benchmarks.  A subclass sets the class variables, its `targets`, and writes `stream`.

    files: what `--data` may name, in words; "" if the benchmark is drawn.  left_out: what was left out of the files,
    one line per reason.  options: the benchmark's own.  Raises TaskError for invalid data or options.
    """

    name: ClassVar[str]
    files: ClassVar[str] = ""
    options_type: ClassVar[type[TaskOptions]] = TaskOptions
    targets: tuple[Target, ...]
    left_out: Sequence[str] = ()

    def __init__(self, config: StreamConfig) -> None:
        if self.files and config.data is None:
            raise TaskError(f"{self.name} needs --data: {self.files}")
        if not self.files and config.data is not None:
            raise TaskError(f"{self.name} is drawn, not read: leave out --data {config.data}")
        options: Any = read_options(self.name, self.options_type, config.options)
        self.options = options
        self.config = replace(config, options=written_options(options))

    @property
    def available(self) -> int | None:
        """Number of different streams; None: unlimited."""
        return None

    @abc.abstractmethod
    def stream(self, number: int) -> Stream:
        """Stream `number`, counted from 0.  Raises TaskError if there is no such stream."""

    @abc.abstractmethod
    def oracle_notes(self, past: Sequence[Step], target: Target) -> list[str]:
        """The notes of an ideal writer after these steps, the most important first.

        past: the steps so far; truths that are not known yet are None (`seen`)."""

    def target(self, name: str) -> Target:
        """The target of this name, or the first for "".  Raises TaskError for an unknown name, and for targets that are
        none."""
        targets = getattr(self, "targets", ())
        if not isinstance(targets, tuple) or not all(isinstance(target, Target) for target in targets):
            raise TaskError(f"{self.name}: `targets` is {targets!r:.60}; expected a tuple of Target")
        if not targets:
            raise TaskError(f"{self.name}: `targets` is empty; there is nothing to predict")
        names = [target.name for target in targets]
        if name and name not in names:
            raise TaskError(f"{self.name}: unknown target {name!r} (choose from {', '.join(names)})")
        target = targets[names.index(name) if name else 0]
        if target.kind not in get_args(Kind):
            told = ", ".join(get_args(Kind))
            raise TaskError(f"{self.name}: target {target.name!r} has the kind {target.kind!r} (choose from {told})")
        return target

    def rng(self, number: int) -> np.random.Generator:
        """A stream's own randomness; it depends on the seed, the options and the number, and on no file."""
        text = f"{self.name}|{self.config.seed}|{self.config.options}|{number}"
        return np.random.Generator(np.random.Philox(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16])))


def load_benchmark(name_or_path: str) -> type[Benchmark]:
    """The benchmark of this name, or of a user's `.py` file.  Raises TaskError, one line, if there is none, or if it
    lacks a name of its own."""
    found = load_class(
        name_or_path,
        base=Benchmark,  # type: ignore[type-abstract]
        package=PACKAGE,
        attribute="BENCHMARK",
        error=TaskError,
    )
    if not isinstance(getattr(found, "name", None), str):
        raise TaskError(f"{name_or_path}: {found.__name__} has no `name`, a word for tables")
    return found


def known_by(step: Step, now: Step) -> bool:
    """Whether a step's truth is known when the input of step `now` is."""
    return step.truth is not None and step.known_after is not None and not_after(step.known_after, now.time)


def seen(steps: Sequence[Step], now: Step) -> list[Step]:
    """The steps before `now`, as known when its input is: truths that come later are None."""
    return [
        step if known_by(step, now) else replace(step, truth=None, known_after=None) for step in steps[: now.number]
    ]


def not_after(first: str | int, second: str | int) -> bool:
    """Whether a time is not after another.  All times of a stream are of one kind: step numbers, or ISO dates (with or
    without times), which sort as text."""
    if isinstance(first, int) and isinstance(second, int):
        return first <= second
    return str(first) <= str(second)
