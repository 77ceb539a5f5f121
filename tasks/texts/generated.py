"""Generated sets of texts: families of texts with the same words, one for each label.

Family i of a split is a pure function of (task, n, seed, split, i).  All texts of a family have the same words, so a
reader of the words alone gives the same answer for each, and is right on exactly one: chance, by construction.

Splits share no text: a family's split is decided by what all families with one of its texts have in common.
"""

import abc
import hashlib
from collections.abc import Sequence
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np

from ..api import Split, TaskError
from ..randomness import SPLITS, below, split_name, start
from .api import Example, TextSet, checked
from .words import FILLER_WORDS, filler

LONGEST = 512
MOST_ATTEMPTS = 1000  # a split owns at least a quarter of all families
T = TypeVar("T")


class SampleDraws:
    """A sample's own stream of random numbers."""

    def __init__(self, key: str, index: int, attempt: int) -> None:
        word = np.uint64(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little"))
        self._rng = np.empty(1, np.uint64)
        start(self._rng, word, index, attempt)

    def below(self, bound: int) -> int:
        """A uniform whole number from 0 to bound - 1."""
        return int(below(self._rng, bound))

    def pick(self, values: Sequence[T]) -> T:
        return values[self.below(len(values))]

    def some(self, values: Sequence[T], count: int) -> list[T]:
        """`count` different values, in random order."""
        left = list(values)
        return [left.pop(self.below(len(left))) for _ in range(count)]


class Written(NamedTuple):
    """A text, and the position of its deciding sentence (`Example.place`)."""

    text: str
    place: float | None = None


class GeneratedTexts(abc.ABC):
    """Base of the generated sets.  A subclass sets the class variables, and writes `family` and `oracle`.

    labels: their names; a family has a text for each, in this order.  shortest: smallest n.
    order_blind: the control, whose families do not share their words.
    version: increased when the texts of a seed change, so that runs on older texts are not taken for runs on these.

    n: most words of a text, which has at most `FILLER_WORDS - 1` fewer.
    Raises TaskError for an n out of range.
    """

    name: ClassVar[str]
    labels: ClassVar[tuple[str, ...]]
    shortest: ClassVar[int]
    order_blind: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def __init__(self, n: int, seed: int = 0) -> None:
        if not self.shortest <= n <= LONGEST:
            raise TaskError(f"{self.name}: n = {n} is outside {self.shortest}..{LONGEST} words of a text")
        self.n, self.seed = n, seed

    @abc.abstractmethod
    def family(self, draws: SampleDraws) -> list[Written]:
        """A text for each label."""

    @staticmethod
    @abc.abstractmethod
    def oracle(text: str) -> int:
        """The label's number, read from the text alone; shares no code with `family`."""

    @staticmethod
    def common(family: Sequence[Written]) -> str:
        """What all families with one of these texts have in common: it decides the split.  By default all texts, for
        texts that occur in one family only."""
        return "\n".join(each.text for each in family)

    def examples(self, split: Split, count: int) -> tuple[Example, ...]:
        """The first `count` examples of a split, whole families: `count` is rounded down to a multiple of the labels.

        Raises TaskError if that leaves none."""
        families = count // len(self.labels)
        if families < 1:
            raise TaskError(f"{self.name}: {count} samples are fewer than the {len(self.labels)} of a family")
        return tuple(example for index in range(families) for example in self._members(split, index))

    def text_set(self, samples: int, test_samples: int) -> TextSet:
        """samples: for training.  test_samples: for the test; the validation split has half as many, at least one
        family."""
        sizes: dict[Split, int] = {
            "train": samples,
            "validation": max(test_samples // 2, len(self.labels)),
            "test": test_samples,
        }
        splits = {split: self.examples(split, sizes[split]) for split in SPLITS}
        return checked(
            TextSet(name=self.name, kind="text", labels=self.labels, order_blind=self.order_blind, splits=splits)
        )

    def _members(self, split: Split, index: int) -> list[Example]:
        """The examples of family `index`, which is drawn again until `common` puts it into the split.

        Raises TaskError if there are too few different texts for that."""
        key = f"texts|{self.name}|n={self.n}|seed={self.seed}|split={split}"
        for attempt in range(MOST_ATTEMPTS):
            family = self.family(SampleDraws(key, index, attempt))
            common = self.common(family).encode()
            if split_name(common) == split:
                group = hashlib.sha256(common).hexdigest()[:16]
                return [
                    Example(name=f"{split}-{index}-{label}", group=group, texts=(text,), label=label, place=place)
                    for label, (text, place) in enumerate(family)
                ]
        raise TaskError(
            f"{self.name}: there are too few different texts of {self.n} words, and none belongs to the {split} split; "
            "a larger n is needed"
        )


def with_fillers(draws: SampleDraws, parts: Sequence[str], n: int) -> tuple[list[str], list[int]]:
    """Put irrelevant sentences before and between the parts, as many as fit into n words; the last part, the question,
    stays last.

    Returns the sentences, and the number of fillers before each part."""
    room = (n - sum(len(part.split()) for part in parts)) // FILLER_WORDS
    gaps = sorted(draws.below(len(parts)) for _ in range(max(0, room)))
    sentences, before, used = [], [], 0
    for place, part in enumerate(parts):
        while used < len(gaps) and gaps[used] <= place:
            sentences.append(filler(draws.below))
            used += 1
        before.append(used)
        sentences.append(part)
    return sentences, before


def steps_of(n: int) -> int:
    """Number of steps to follow in a text of n words: 1 up to 63 words, then 1 more for each doubling."""
    return max(1, n.bit_length() - 5)
