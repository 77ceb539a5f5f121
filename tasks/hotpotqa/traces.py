"""A question and its paragraphs as a trace, in each view, and the part of a context that a search sees.

    prompt  [BOS] [TITLE] t [SENTENCE] s [SENTENCE] s [TITLE] t [SENTENCE] s ... [QUESTION] q
    direct  [ANSWER] a [EOS]
    cot     [SENTENCE] s [SENTENCE] s [ANSWER] a [EOS]
    rag     [STARTSEARCH] r [ENDSEARCH] [SENTENCE] s [STARTSEARCH] r [ENDSEARCH] [SENTENCE] s [ANSWER] a [EOS]

t, s, q, a, r are texts: title, sentence, question, answer, regular expression.  The supporting sentences come in the
order in which they can be found: at each step the easiest to find from the question and the sentences before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..api import BOS, CONTROL_TOKENS, ENDSEARCH, EOS, STARTSEARCH, Mode, Passage
from .data.records import Paragraph
from .data.subsets import Shown, ShownParagraph
from .data.text import Codec
from .search import LONGEST_QUERY, gold_search, unlike

MARKS = ("[TITLE]", "[SENTENCE]", "[QUESTION]", "[ANSWER]")
TITLE, SENTENCE, QUESTION, ANSWER = range(len(CONTROL_TOKENS), len(CONTROL_TOKENS) + len(MARKS))
TEXT_0 = len(CONTROL_TOKENS) + len(MARKS)
# Most tokens of a title, a question, an answer and a search; longer ones are cut, searches are chosen to fit.
TITLE_TOKENS, QUESTION_TOKENS, ANSWER_TOKENS, SEARCH_TOKENS = 24, 96, 24, 32


@dataclass(frozen=True)
class Trace:
    """tokens, the first `prompt` of which are given; graded: which of them have a loss."""

    tokens: list[int]
    graded: list[bool]
    prompt: int


@dataclass(frozen=True)
class Writer:
    """Writes traces.  title_tokens, sentence_tokens: longer ones are cut.  hops: most supporting sentences."""

    codec: Codec
    title_tokens: int
    sentence_tokens: int
    hops: int

    def paragraph(self, paragraph: ShownParagraph) -> list[int]:
        """Title and sentences, each after its mark; empty sentences are left out."""
        title, sentences = _parts(paragraph)
        tokens = [TITLE, *self.codec.encode(title, self.title_tokens)]
        for sentence in filter(None, sentences):
            tokens += [SENTENCE, *self.codec.encode(sentence, self.sentence_tokens)]
        return tokens

    def count(self, text: str) -> int:
        """Tokens of a sentence as it is shown; fillers are matched by this count."""
        return len(self.codec.encode(text, self.sentence_tokens))

    def tokens_of(self, paragraph: Paragraph) -> int:
        """How many tokens `paragraph` writes for this one."""
        title = len(self.codec.encode(paragraph.title, self.title_tokens))
        return 1 + title + sum(1 + self.count(sentence) for sentence in paragraph.sentences if sentence)

    def longest_filler(self, paragraph: Paragraph) -> int:
        """Most tokens that `paragraph` writes for this one's filler, which has as many parts and no more tokens by
        `count`; the part in the title's place has up to title_tokens, of which `count` sees sentence_tokens."""
        parts = filter(None, (paragraph.title, *paragraph.sentences))
        return sum(1 + self.count(part) for part in parts) + max(0, self.title_tokens - self.sentence_tokens)

    def longest(self, prompt: int, mode: Mode) -> int:
        """Tokens of the longest trace whose paragraphs have `prompt` tokens."""
        sentence = 1 + self.sentence_tokens
        hop = {"direct": 0, "cot": sentence, "rag": 2 + SEARCH_TOKENS + sentence}[mode]
        return 1 + prompt + 1 + QUESTION_TOKENS + self.hops * hop + 2 + ANSWER_TOKENS

    def trace(self, shown: Shown, mode: Mode) -> Trace:
        """The trace of a question with these paragraphs."""
        question = self.codec.encode(shown.question.question, QUESTION_TOKENS)
        context = [BOS, *(token for paragraph in shown.paragraphs for token in self.paragraph(paragraph))]
        tokens = [*context, QUESTION, *question]
        prompt, graded = len(tokens), [False] * len(tokens)
        for search, found in self._steps(shown, context, question, mode):
            tokens += [*search, *found]
            graded += [True] * len(search) + [mode == "cot"] * len(found)
        answer = [ANSWER, *self.codec.encode(shown.question.answer, ANSWER_TOKENS), EOS]
        return Trace(tokens + answer, graded + [True] * len(answer), prompt)

    def _steps(
        self, shown: Shown, context: list[int], question: list[int], mode: Mode
    ) -> list[tuple[list[int], Sequence[int]]]:
        """(search, sentence found) for each hop; the search is empty in `cot`."""
        if mode == "direct":
            return []
        passages = self.passages(context)
        lines = [passage.text for passage in passages]
        known, steps = self.codec.decode(question), list[tuple[list[int], Sequence[int]]]()
        left, elsewhere = _supporting(shown), _not_shown(shown)
        every = [*lines, *elsewhere]
        while left and len(steps) < self.hops:
            wanted = min(left, key=lambda place: unlike(known, every, lines[place]))
            left.remove(wanted)
            search = list[int]()
            if mode == "rag":
                gold = gold_search(known, lines, wanted, elsewhere, self._fits)
                search, wanted = [STARTSEARCH, *self.codec.encode(gold.pattern), ENDSEARCH], gold.place
            steps.append((search, passages[wanted].tokens))
            known += " " + lines[wanted]
        return steps

    def _fits(self, pattern: str) -> bool:
        return len(pattern) <= LONGEST_QUERY and self.codec.count(pattern) <= SEARCH_TOKENS

    def passages(self, context: Sequence[int]) -> list[Passage]:
        """The sentences shown, with the titles of their paragraphs; the paragraphs end where the question begins."""
        passages, title = list[Passage](), ""
        for mark, piece in _pieces(context):
            if mark == QUESTION:
                break
            text = self.codec.decode(piece)
            if mark == TITLE:
                title = text
            elif mark == SENTENCE:
                passages.append(Passage(f"{title}: {text}", [SENTENCE, *piece]))
        return passages

    def sentences(self, tokens: Sequence[int]) -> tuple[str, ...]:
        """The sentences after the question: written in `cot`, found in `rag`."""
        pieces = list(_pieces(tokens))
        asked = next((place for place, (mark, _) in enumerate(pieces) if mark == QUESTION), len(pieces))
        return tuple(self.codec.decode(piece) for mark, piece in pieces[asked:] if mark == SENTENCE)

    def answer(self, tokens: Sequence[int]) -> str:
        """The text after the last `[ANSWER]`; "" if there is none."""
        return next((self.codec.decode(piece) for mark, piece in reversed(list(_pieces(tokens))) if mark == ANSWER), "")


def _pieces(tokens: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Each token that is not text, with the text tokens after it."""
    pieces = list[tuple[int, list[int]]]()
    for token in tokens:
        if token < TEXT_0:
            pieces.append((token, []))
        elif pieces:
            pieces[-1][1].append(token)
    return pieces


def _parts(paragraph: ShownParagraph) -> tuple[str, tuple[str, ...]]:
    """Title and sentences.  Filler has no title: its first part, of as many words, takes that place."""
    if paragraph.title:
        return paragraph.title, paragraph.sentences
    return paragraph.sentences[0], paragraph.sentences[1:]


def _supporting(shown: Shown) -> list[int]:
    """The places of the supporting sentences among all that are shown (none is empty), in the record's order."""
    facts = [
        (paragraph.title, number)
        for paragraph in shown.paragraphs
        for number, sentence in enumerate(_parts(paragraph)[1])
        if sentence
    ]
    return [facts.index(fact) for fact in dict.fromkeys(shown.question.supporting) if fact in facts]


def _not_shown(shown: Shown) -> list[str]:
    """The lines of the question's paragraphs that are not shown."""
    titles = {paragraph.title for paragraph in shown.paragraphs}
    hidden = (paragraph for paragraph in shown.question.paragraphs if paragraph.title not in titles)
    return [f"{paragraph.title}: {sentence}" for paragraph in hidden for sentence in paragraph.sentences]


def padded(traces: Sequence[Trace]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """tokens_BxL and loss_mask_BxL, zeros past a trace's end."""
    longest = max(len(trace.tokens) for trace in traces)
    tokens_BxL, mask_BxL = np.zeros((len(traces), longest), np.int32), np.zeros((len(traces), longest), np.bool_)
    for row, trace in enumerate(traces):
        tokens_BxL[row, : len(trace.tokens)] = trace.tokens
        mask_BxL[row, : len(trace.tokens)] = trace.graded
    return tokens_BxL, mask_BxL
