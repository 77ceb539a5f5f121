"""Which paragraphs of a question a model sees, and in which order.

With n, the number of paragraphs, three things grow together: the paragraphs that could hold the answer (*candidates*),
the text to be read (*length*), and the text between the gold paragraphs and the question (*distance*).  The variants
separate them.  A question has one *layout*: its two gold paragraphs (G, g) and up to eight distractors in random
order.  A distractor's number is its *rank*, also random: n keeps the ranks 1 .. n - 2.

    layout, n = 10         5  7  G  1  8  g  3  2  6  4   question
    plain, n = 4                 G  1     g     2         question    all three grow with n
    length_matched, n = 4 ~5 ~7  G  1 ~8  g ~3  2 ~6 ~4   question    only candidates grow
    distance, n = 4        5  7  1  8  3  2  G  6  g  4   question    only distance grows

`~5` is *filler* in the place of distractor 5: its words in random order, as many tokens, no title, no facts; so no
gold paragraph moves by a token.  In `distance` all ten are shown, the distractors in the layout's order, and as many
follow each gold paragraph as in `plain`.  At n = 10 all variants are the same.

What is shown at n is shown at every larger n.  Everything is drawn from (seed, question id, titles): the order of a
file, its other questions and the order of a record's paragraphs do not matter.  With `distractors="other"` the other
questions do, since distractors come from them; a paragraph keeps its rank when questions are added, unless a new one
comes before it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np

from ...api import TaskError, check_choice
from .pool import Pool, by_rank, hash_of
from .records import GOLD_PARAGRAPHS, LeftOut, Paragraph, Question

Distractors = Literal["own", "other"]
Variant = Literal["plain", "length_matched", "distance"]
SMALLEST, LARGEST = 2, 10
_PLACE = r"(?:0|[1-9][0-9]{0,3})"  # in one spelling, so that one order has one hash

# Number of tokens of a text.  A title and each sentence are counted separately, then added.
TokenCount = Callable[[str], int]
# A paragraph with its place in the layout: a random number to sort by.
Placed = tuple[int, "ShownParagraph"]


def whitespace_words(text: str) -> int:
    """Number of words between white space: lengths are matched by it unless another count is given."""
    return len(text.split())


@dataclass(frozen=True, kw_only=True)
class SubsetConfig:
    """Settings that, with a question, determine the paragraphs shown.

    n_paragraphs: candidates, the two gold ones included; for variant "distance", how many there are from the first
        that may be gold up to the question (all ten are shown).
    order: places of the gold paragraphs: "random" (all places equally likely), "last" (next to the question), "first",
        or two places counted from 1, such as "3,7", among all that are shown (for "distance", among the last n).  Which
        of the two comes first is random, and the same for every n and order.
    distractors: "own" are those that came with the question; "other" are paragraphs of other questions that do not
        name what the answer rests on (`Pool.drawn`).
    Raises TaskError, naming the flag, for any other value.
    """

    n_paragraphs: int = LARGEST
    order: str = "random"
    distractors: Distractors = "own"
    variant: Variant = "plain"
    seed: int = 0

    def __post_init__(self) -> None:
        if not SMALLEST <= self.n_paragraphs <= LARGEST:
            raise TaskError(f"hotpotqa: --n-paragraphs {self.n_paragraphs} is outside {SMALLEST}..{LARGEST}")
        check_choice("hotpotqa", "--distractors", self.distractors, get_args(Distractors))
        check_choice("hotpotqa", "--variant", self.variant, get_args(Variant))
        if self.order not in ("random", "last", "first"):
            self._check_places()

    def _check_places(self) -> None:
        if not re.fullmatch(rf"{_PLACE},{_PLACE}", self.order):
            raise TaskError(f"hotpotqa: --order {self.order!r} is none of random, last, first, or two places as in 3,7")
        first, second = self.gold_at(self.places_to_fill)
        if not 0 <= first < second < self.places_to_fill:
            raise TaskError(f"hotpotqa: --order {self.order}: expected two rising places in 1..{self.places_to_fill}")

    def gold_at(self, shown: int) -> tuple[int, int]:
        """Places of the gold paragraphs among this many, from 0.  For every order except "random"."""
        if self.order == "first":
            return 0, 1
        if self.order == "last":
            return shown - 2, shown - 1
        first, _, second = self.order.partition(",")
        return int(first) - 1, int(second) - 1

    @property
    def places_to_fill(self) -> int:
        """Number of paragraphs among which the gold ones are placed."""
        return LARGEST if self.variant == "length_matched" else self.n_paragraphs

    @property
    def paragraphs_needed(self) -> int:
        """Number of paragraphs that a question must have."""
        return self.n_paragraphs if self.variant == "plain" else LARGEST


@dataclass(frozen=True)
class ShownParagraph:
    """One paragraph as the model sees it; filler has the title ""."""

    title: str
    sentences: tuple[str, ...]
    gold: bool


@dataclass(frozen=True)
class Shown:
    """A question and the paragraphs before it, in this order."""

    question: Question
    paragraphs: tuple[ShownParagraph, ...]

    def as_json(self) -> dict[str, Any]:
        """What `sample --format jsonl` prints."""
        return {
            "id": self.question.id,
            "question": self.question.question,
            "answer": self.question.answer,
            "paragraphs": [asdict(paragraph) for paragraph in self.paragraphs],
        }


def shown_tokens(paragraphs: Iterable[ShownParagraph], tokens: TokenCount = whitespace_words) -> int:
    """Tokens of titles and sentences; what a prompt puts between them is not counted."""
    return sum(tokens(part) for paragraph in paragraphs for part in (paragraph.title, *paragraph.sentences) if part)


class Subsets:
    """Controlled subsets of questions' paragraphs.

    questions: those that this configuration can show, in the order given; left_out: the others, with the reason.
    tokens: the count for length_matched; a filler has as many words as possible without more tokens than the
        paragraph that it replaces: the same number if tokens are whitespace words, and at most one word's tokens
        fewer with any count that grows with the words.
    """

    def __init__(
        self, questions: Sequence[Question], config: SubsetConfig, tokens: TokenCount = whitespace_words
    ) -> None:
        self.config, self._tokens = config, tokens
        self._pool = Pool(questions) if config.distractors == "other" else None
        lacking = {question.id: self._lacks(question) for question in questions}
        self.questions = tuple(question for question in questions if not lacking[question.id])
        self.left_out = tuple(LeftOut(identity, "", reason) for identity, reason in lacking.items() if reason)

    def shown(self, question: Question) -> Shown:
        """The question with its paragraphs.  Raises TaskError if it has too few for this configuration."""
        if reason := self._lacks(question):
            raise TaskError(f"hotpotqa: question {question.id}: {reason}")
        gold, ranked = self._in_place(question, _gold(question)), self._ranked(question)
        kept = ranked[: self.config.n_paragraphs - GOLD_PARAGRAPHS]
        if self.config.variant == "length_matched":
            fillers = [(place, self._filler(question, paragraph)) for place, paragraph in ranked[len(kept) :]]
            return Shown(question, tuple(self._ordered(gold, kept + fillers)))
        shown = self._ordered(gold, kept)
        if self.config.variant == "distance":
            shown = _as_far(shown, [paragraph for _, paragraph in sorted(ranked, key=_place)])
        return Shown(question, tuple(shown))

    def _lacks(self, question: Question) -> str:
        """Why a question cannot be shown; "" if it can."""
        needed = self.config.paragraphs_needed
        if self._pool is not None:
            return ""
        have = len(question.paragraphs)
        return "" if have >= needed else f"it has {have} paragraphs, {needed} are needed"

    def _ranked(self, question: Question) -> list[Placed]:
        """The distractors that are needed, or up to eight, by rank, each with its place in the layout."""
        most = LARGEST - GOLD_PARAGRAPHS
        if self._pool is not None:
            needed = self.config.paragraphs_needed - GOLD_PARAGRAPHS
            return self._in_place(question, self._pool.drawn(question, self.config.seed, needed))
        own = [paragraph for paragraph in question.paragraphs if paragraph.title not in question.gold_titles]
        own.sort(key=lambda paragraph: self._drawn(question, "rank", paragraph.title))
        return self._in_place(question, own[:most])

    def _in_place(self, question: Question, paragraphs: Iterable[Paragraph]) -> list[Placed]:
        gold = question.gold_titles
        return [
            (self._drawn(question, "place", title), ShownParagraph(title, sentences, title in gold))
            for title, sentences in ((paragraph.title, paragraph.sentences) for paragraph in paragraphs)
        ]

    def _ordered(self, gold: list[Placed], others: list[Placed]) -> list[ShownParagraph]:
        """The gold paragraphs among the others, which keep the layout's order."""
        if self.config.order == "random":
            return [paragraph for _, paragraph in sorted(gold + others, key=_place)]
        first, second = (paragraph for _, paragraph in sorted(gold, key=_place))
        shown = [paragraph for _, paragraph in sorted(others, key=_place)]
        first_at, second_at = self.config.gold_at(len(shown) + GOLD_PARAGRAPHS)
        shown.insert(first_at, first)
        shown.insert(second_at, second)
        return shown

    def _filler(self, question: Question, paragraph: ShownParagraph) -> ShownParagraph:
        """The paragraph's words, title and all, in random order, cut into sentences as long as its own."""
        parts = [part for part in (paragraph.title, *paragraph.sentences) if part]
        words = " ".join(parts).split()
        key = hash_of(str(self.config.seed), question.id, "filler", paragraph.title)
        shuffled = [words[place] for place in by_rank(np.arange(len(words), dtype=np.uint64), key)]
        wanted = sum(map(self._tokens, parts))
        return ShownParagraph("", _cut(shuffled, [len(part.split()) for part in parts], wanted, self._tokens), False)

    def _drawn(self, question: Question, purpose: str, title: str) -> int:
        return hash_of(str(self.config.seed), question.id, purpose, title)


def _gold(question: Question) -> list[Paragraph]:
    return [paragraph for paragraph in question.paragraphs if paragraph.title in question.gold_titles]


def _place(placed: Placed) -> int:
    return placed[0]


def _as_far(shown: list[ShownParagraph], distractors: list[ShownParagraph]) -> list[ShownParagraph]:
    """All distractors, with each gold paragraph of `shown` followed by as many of them as there."""
    placed = list(distractors)
    for place, paragraph in enumerate(shown):
        if paragraph.gold:
            behind = sum(not other.gold for other in shown[place + 1 :])
            placed.insert(len(placed) - behind, paragraph)
    return placed


def _cut(words: Sequence[str], sizes: Sequence[int], wanted: int, tokens: TokenCount) -> tuple[str, ...]:
    """Cut words into sentences of these sizes, with as many words as fit into `wanted` tokens: words are dropped from
    the end, or repeated from the start at the end of the last sentence."""
    sentences: list[list[str]] = []
    rest = list(words)
    for size in sizes:
        sentences.append(rest[:size])
        rest = rest[size:]
    count = sum(tokens(" ".join(sentence)) for sentence in sentences)
    while count > wanted and sentences:
        count -= tokens(" ".join(sentences[-1]))
        sentences[-1].pop()
        count += tokens(" ".join(sentences[-1])) if sentences[-1] else 0
        if not sentences[-1]:
            sentences.pop()
    for word in words if count < wanted else ():
        longer = count - tokens(" ".join(sentences[-1])) + tokens(" ".join([*sentences[-1], word]))
        if longer > wanted:
            break
        sentences[-1].append(word)
        count = longer
    return tuple(" ".join(sentence) for sentence in sentences)
