"""Sources of questions, a data file or small made-up worlds, and the questions of each split."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...api import Split, TaskError
from ...randomness import split_name
from ..traces import TEXT_0, TITLE_TOKENS, Writer
from ..worlds.questions import WorldConfig, world_question
from .pool import by_rank, hash_of
from .records import Paragraph, Question, read_questions
from .subsets import LARGEST, Variant
from .text import Codec, train_codec

TOP_SEED = 2**63
_log = logging.getLogger(__name__)
# Questions of the training split that a tokenizer is trained on.
READ_FOR_TOKENS, WORLDS_FOR_TOKENS = 2000, 1000
# Worlds whose paragraphs can be distractors in others.
POOLED = 200


class Source(Protocol):
    """The questions of a split; sample numbers are unlimited."""

    @property
    def problems(self) -> int | None:
        """Number of different questions; None: unlimited."""

    @property
    def questions(self) -> Sequence[Question]:
        """Those whose paragraphs can be distractors in others."""

    def drawn(self, index: int) -> tuple[Question, int]:
        """The question of a sample, and the seed for the paragraphs shown with it."""


@dataclass(frozen=True)
class FileSource:
    """A file's questions of a split, all in random order, then all again with other distractors, and so on."""

    questions: Sequence[Question]
    seed: int

    @property
    def problems(self) -> int:
        return len(self.questions)

    def drawn(self, index: int) -> tuple[Question, int]:
        turn, place = divmod(index, len(self.questions))
        seed = self.seed if turn == 0 else hash_of(str(self.seed), "turn", str(turn)) % TOP_SEED
        return self.questions[_order(len(self.questions), self.seed, turn)[place]], seed


@lru_cache(maxsize=16)
def _order(count: int, seed: int, turn: int) -> NDArray[np.intp]:
    return by_rank(np.arange(count, dtype=np.uint64), hash_of(str(seed), "order", str(turn)))


@dataclass(frozen=True)
class WorldSource:
    """Questions of small made-up worlds, each with its own number; distractors from other worlds come from the first
    POOLED questions."""

    config: WorldConfig
    split: Split
    seed: int
    most: int

    @property
    def problems(self) -> None:
        return None

    @cached_property
    def questions(self) -> Sequence[Question]:
        return [self._question(index) for index in range(POOLED)]

    def drawn(self, index: int) -> tuple[Question, int]:
        return self._question(index), self.seed

    def _question(self, index: int) -> Question:
        return shortened(world_question(self.seed, self.split, index, self.config), self.most)


def of_split(questions: Iterable[Question], split: Split) -> tuple[Question, ...]:
    """The questions whose id belongs to a split."""
    return tuple(question for question in questions if split_name(question.id.encode()) == split)


def read_file(path: str) -> Sequence[Question]:
    """All usable questions of a file.  Raises TaskError if there is none, or the file cannot be read."""
    try:
        return _read(path, Path(path).stat().st_mtime_ns)
    except OSError as error:
        raise TaskError(f"hotpotqa: {path} cannot be read: {error.strerror}") from error


@lru_cache(maxsize=4)
def _read(path: str, _changed: int) -> Sequence[Question]:
    records = read_questions(path)
    if records.left_out:
        _log.warning(
            "%s: %d record(s) left out; `retrieval-gap data check` tells which, and why", path, len(records.left_out)
        )
    return records.kept


def shortened(question: Question, most: int) -> Question:
    """The question with at most this many sentences of each paragraph (0: all), in their order; supporting ones are
    kept before others."""
    if not most:
        return question
    kept = {paragraph.title: _kept(question, paragraph, most) for paragraph in question.paragraphs}
    return replace(
        question,
        paragraphs=tuple(Paragraph(p.title, tuple(p.sentences[k] for k in kept[p.title])) for p in question.paragraphs),
        supporting=tuple((t, kept[t].index(k)) for t, k in question.supporting if k in kept[t]),
    )


def _kept(question: Question, paragraph: Paragraph, most: int) -> list[int]:
    gold = [number for title, number in question.supporting if title == paragraph.title]
    filled = (number for number, sentence in enumerate(paragraph.sentences) if sentence)
    return sorted(list(dict.fromkeys([*gold, *filled]))[:most])


def texts_of(questions: Iterable[Question]) -> Iterator[str]:
    """All texts of questions that can be shown."""
    for question in questions:
        yield from (question.question, question.answer)
        for paragraph in question.paragraphs:
            yield from (paragraph.title, *filter(None, paragraph.sentences))


def writer_of(path: str, worlds: WorldConfig, vocab: int, sentence_tokens: int, hops: int) -> Writer:
    """The writer of a source's traces; its tokens are trained on the training split only, the same for all seeds.

    Worlds are unlimited, so titles and sentences longer than in the worlds that tokens are trained on are cut too.
    """
    if path:
        questions = of_split(read_file(path), "train")[:READ_FOR_TOKENS]
        return Writer(_codec(tuple(texts_of(questions)), vocab), TITLE_TOKENS, sentence_tokens, hops)
    return _world_writer(worlds, vocab, sentence_tokens, hops)


@lru_cache(maxsize=4)
def _codec(texts: tuple[str, ...], vocab: int) -> Codec:
    return train_codec(texts, vocab, TEXT_0)


@lru_cache(maxsize=4)
def _world_writer(worlds: WorldConfig, vocab: int, sentence_tokens: int, hops: int) -> Writer:
    questions = [world_question(0, "train", index, worlds) for index in range(WORLDS_FOR_TOKENS)]
    codec = _codec(tuple(texts_of(questions)), vocab)
    paragraphs = [paragraph for question in questions for paragraph in question.paragraphs]
    title = max(map(codec.count, {paragraph.title for paragraph in paragraphs}))
    sentence = max(map(codec.count, {sentence for paragraph in paragraphs for sentence in paragraph.sentences}))
    return Writer(codec, min(title, TITLE_TOKENS), min(sentence, sentence_tokens), hops)


def longest_paragraphs(path: str, worlds: WorldConfig, most: int, writer: Writer, variant: Variant) -> list[list[int]]:
    """Tokens of each paragraph of each question of a file, or of its filler if that can have more; for worlds, the most
    that a paragraph can have."""
    if not path:
        facts = min(worlds.facts, most or worlds.facts)
        return [[1 + writer.title_tokens + facts * (1 + writer.sentence_tokens)] * LARGEST]

    def longest(paragraph: Paragraph) -> int:
        shown = writer.tokens_of(paragraph)
        return max(shown, writer.longest_filler(paragraph)) if variant == "length_matched" else shown

    return [list(map(longest, shortened(question, most).paragraphs)) for question in read_file(path)]
