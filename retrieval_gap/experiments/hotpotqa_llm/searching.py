"""Searches the paragraphs shown: by a regular expression that a model wrote, or by BM25.

A model may write anything as its expression.  RE2 runs in time linear in the text, its automaton is bounded
(`PATTERN_MEMORY`), and so are the lengths of pattern and result here.  An invalid search gives `FAILED`.
"""

from collections.abc import Sequence

import re2

from retrieval_gap.decoding.retrieval import pattern_options
from retrieval_gap.machine.errors import RunError
from retrieval_gap.tasks.hotpotqa.data.subsets import ShownParagraph

START, END, FAILED = "[STARTSEARCH]", "[ENDSEARCH]", "[FAILED]"
# Characters of the longest pattern that is run, and of the longest result that is returned.
LONGEST_PATTERN, LONGEST_RESULT = 1_000, 600
# Two private-use characters, which are in no text: an expression that matches them would match anything.
ANYTHING = "\ue000\ue001"


def paragraph_text(paragraph: ShownParagraph) -> str:
    """Title and sentences on one line, as the model reads them and as searches do."""
    text = " ".join(sentence for sentence in paragraph.sentences if sentence)
    return f"{paragraph.title}: {text}" if paragraph.title else text


def regex_search(pattern: str, paragraphs: Sequence[ShownParagraph]) -> str:
    """The first match in the paragraphs, each of them a line: its first group that is not empty or, without
    groups, the sentences that it overlaps.  `FAILED` if nothing is found, or if the pattern is invalid, too long or too
    large, matches anything at all (`.+`, `.*`), or has a result longer than `LONGEST_RESULT` characters."""
    if len(pattern) > LONGEST_PATTERN:
        return FAILED
    try:
        expression = re2.compile(pattern, pattern_options())
        if expression.search(ANYTHING):
            return FAILED
        for paragraph in paragraphs:
            match = expression.search(paragraph_text(paragraph))
            if match:
                return _bounded(_result(match.groups(), match.span(), paragraph))
    except (re2.error, UnicodeEncodeError):
        return FAILED
    return FAILED


def unfinished_search(text: str) -> str | None:
    """The pattern of a search that is open at the end of `text`: after a `START` without an `END`; else None."""
    _, start, pattern = text.rpartition(START)
    return pattern.strip() if start and END not in pattern else None


def bm25_choice(question: str, paragraphs: Sequence[ShownParagraph], count: int) -> tuple[ShownParagraph, ...]:
    """The `count` paragraphs that BM25 ranks highest for the question, in the order shown; the earlier one if ranks are
    equal.  Raises RunError if bm25s is not installed."""
    try:
        import bm25s
    except ImportError as error:
        raise RunError("--method bm25 needs the package bm25s: pip install 'retrieval-gap[pretrained]'") from error
    words = bm25s.tokenize([paragraph_text(p) for p in paragraphs], show_progress=False, return_ids=False)
    (asked,) = bm25s.tokenize([question], show_progress=False, return_ids=False)
    known = [word for word in asked if any(word in each for each in words)]
    if not known:
        return tuple(paragraphs[:count])  # nothing to rank by
    index = bm25s.BM25()
    index.index(words, show_progress=False)
    scores = index.get_scores(known)
    best = sorted(range(len(paragraphs)), key=lambda place: -scores[place])[:count]
    return tuple(paragraphs[place] for place in sorted(best))


def _result(groups: Sequence[str | None], span: tuple[int, int], paragraph: ShownParagraph) -> str:
    if groups:
        return next((group for group in groups if group), "")
    first, last = span
    at, touched = 0, []
    if paragraph.title:
        at = len(paragraph.title) + 2
        touched += [paragraph.title] if first < at else []
    for sentence in filter(None, paragraph.sentences):
        if first < at + len(sentence) + 1 and last > at:
            touched.append(sentence)
        at += len(sentence) + 1
    return " ".join(touched)


def _bounded(result: str) -> str:
    """The result as one line; `FAILED` if it is empty or too long."""
    text = " ".join(result.split())
    return text if 0 < len(text) <= LONGEST_RESULT else FAILED
