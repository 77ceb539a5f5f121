"""What a set of labelled texts is: examples in three splits that share no group.

Three kinds of label: one per text (`text`), one of several texts (`choice`), one per word (`tokens`, in BIO).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..api import Split, TaskError
from ..randomness import SPLITS

LabelKind = Literal["text", "choice", "tokens"]
METRICS: dict[LabelKind, str] = {"text": "accuracy", "choice": "accuracy", "tokens": "span_f1"}
MOST_SHOWN = 40  # characters of a group's name in an error


@dataclass(frozen=True, kw_only=True)
class Example:
    """One example.

    name: unique in the whole set.  group: a pair, document or task that is kept in one split.
    texts: one; for a choice, one per choice.
    label: number of the label, or of the right choice.  tags: for `tokens`, a label's number for each word of the text.
    place: position of the deciding sentence, from 0 (first) to 1 (last); None if no single one decides.
    """

    name: str
    group: str
    texts: tuple[str, ...]
    label: int = 0
    tags: tuple[int, ...] = ()
    place: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TextSet:
    """A whole set.  labels: their names, by number; none for a choice.  splits: the examples of each.
    order_blind: the words decide, in any order."""

    name: str
    kind: LabelKind
    labels: tuple[str, ...]
    splits: Mapping[Split, tuple[Example, ...]]
    order_blind: bool = False

    @property
    def train(self) -> tuple[Example, ...]:
        return self.splits["train"]

    @property
    def validation(self) -> tuple[Example, ...]:
        return self.splits["validation"]

    @property
    def test(self) -> tuple[Example, ...]:
        return self.splits["test"]


def checked(texts: TextSet) -> TextSet:
    """The same set.  Raises TaskError, naming the example or group, for a set that allows no fair test: an empty split
    or text, a label that is out of range or has fewer than two examples, a group in two splits."""
    for split in SPLITS:
        if not texts.splits[split]:
            raise TaskError(f"{texts.name}: the {split} split is empty; more examples, or groups, are needed")
        for example in texts.splits[split]:
            _check_example(texts, example)
    _check_groups(texts)
    if texts.kind != "choice":
        _check_labels(texts)
    return texts


def _check_example(texts: TextSet, example: Example) -> None:
    where = f"{texts.name}, example {example.name}"
    if not example.texts or not all(text.strip() for text in example.texts):
        raise TaskError(f"{where}: the text is empty")
    if texts.kind == "tokens":
        words = len(example.texts[0].split())
        if words != len(example.tags):
            raise TaskError(f"{where}: {words} words, {len(example.tags)} tags")
    elif not 0 <= example.label < (len(example.texts) if texts.kind == "choice" else len(texts.labels)):
        raise TaskError(f"{where}: there is no label {example.label}")


def _check_groups(texts: TextSet) -> None:
    owner: dict[str, Split] = {}
    for split in SPLITS:
        for example in texts.splits[split]:
            if owner.setdefault(example.group, split) != split:
                raise TaskError(
                    f"{texts.name}: group {_short(example.group)} is in two splits, {owner[example.group]} and {split} "
                    f"(example {example.name}); a group belongs to one"
                )


def _check_labels(texts: TextSet) -> None:
    counts: Counter[int] = Counter()
    for split in SPLITS:
        for example in texts.splits[split]:
            counts.update(example.tags if texts.kind == "tokens" else (example.label,))
    for number, label in enumerate(texts.labels):
        if counts[number] < 2:
            often = "once" if counts[number] else "never"
            raise TaskError(
                f"{texts.name}: label {label!r} occurs {often}; two examples are needed, to train and to test"
            )


def _short(text: str) -> str:
    return repr(text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "...")


def number_of(label: str, labels: Sequence[str], where: str) -> int:
    """A label's number.  Raises TaskError for one that the set does not have."""
    if label not in labels:
        raise TaskError(f"{where}: label {label!r} is none of {', '.join(labels)}")
    return labels.index(label)
