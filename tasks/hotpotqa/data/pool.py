"""Distractors from other questions: paragraphs of a whole file, drawn for one question."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, groupby

import numpy as np
from numpy.typing import NDArray

from ...api import TaskError
from ...compiled import njit
from ...randomness import mix
from .records import Paragraph, Question


class Pool:
    """The distinct paragraphs of questions.  Axis P: paragraphs."""

    def __init__(self, questions: Iterable[Question]) -> None:
        distinct = {paragraph: None for question in questions for paragraph in question.paragraphs}
        self._paragraphs = tuple(distinct)
        self._word_P = np.array([hash_of(p.title, *p.sentences) for p in self._paragraphs], np.uint64)

    def drawn(self, question: Question, seed: int, count: int) -> list[Paragraph]:
        """`count` paragraphs for a question, by rank.

        Each paragraph's rank is a hash of (seed, question id, its text): random, and independent of the rest of the
        pool.  A paragraph is left out if it has the title of one of the question's own or of one drawn before, or if it
        names something that the answer rests on, since it could contradict it (`_names_at_stake`).  Paragraphs that
        hold the answer are kept: a text that occurs only in gold paragraphs would give itself away.
        Raises TaskError if too few are left.
        """
        if not count:
            return []
        if not len(self._word_P):
            raise TaskError("hotpotqa: there are no other questions to draw distractors from")
        forbidden = _names_at_stake(question)
        titles = {paragraph.title for paragraph in question.paragraphs}
        chosen: list[Paragraph] = []
        for place in by_rank(self._word_P, hash_of(str(seed), question.id)):
            paragraph = self._paragraphs[place]
            if paragraph.title in titles or forbidden.search(" ".join((paragraph.title, *paragraph.sentences))):
                continue
            titles.add(paragraph.title)
            chosen.append(paragraph)
            if len(chosen) == count:
                return chosen
        raise TaskError(
            f"hotpotqa: question {question.id}: {len(chosen)} paragraphs of other questions do not name what its "
            f"answer rests on, {count} are needed; lower --n-paragraphs, or raise --names (of a file: more questions)"
        )


def _names_at_stake(question: Question) -> re.Pattern[str]:
    """A pattern of the gold titles (without parts in brackets) and of the names in the question or a supporting
    sentence: all names of several words, and those of one word that two of these texts have."""
    said = {paragraph.title: paragraph.sentences for paragraph in question.paragraphs}
    texts = [question.question, *(said[title][number] for title, number in question.supporting)]
    found = Counter(chain.from_iterable(set(_names(text)) for text in texts))
    names = {name for name, count in found.items() if count > 1 or " " in name}
    names.update(re.sub(r"\s*\(.*\)$", "", title) or title for title in question.gold_titles)
    return re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(names))) + r")(?!\w)")


def _names(text: str) -> Iterator[str]:
    """Runs of capitalised words, except a text's first word alone."""
    words = re.findall(r"\w+|[^\w\s]", text)
    for capital, run in groupby(enumerate(words), key=lambda at: at[1][0].isupper()):
        places = [place for place, _ in run]
        if capital and places != [0]:
            yield " ".join(words[place] for place in places)


def hash_of(*parts: str) -> int:
    """A 64-bit hash of these texts."""
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest()[:8], "little")


def by_rank(word_P: NDArray[np.uint64], key: int) -> NDArray[np.intp]:
    """The indices of these words in a random order given by `key`; each word's rank is independent of the others."""
    return np.argsort(_mixed(word_P, np.uint64(key)), kind="stable")


@njit(cache=True, nogil=True)
def _mixed(word_P: NDArray[np.uint64], key: np.uint64) -> NDArray[np.uint64]:
    mixed_P = np.empty_like(word_P)
    for place in range(len(word_P)):
        mixed_P[place] = mix(word_P[place] ^ key)
    return mixed_P
