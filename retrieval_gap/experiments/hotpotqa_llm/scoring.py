"""The answer that a text gives, and the official scores of HotpotQA: exact match and F1 over normalised words.

Source: the evaluation of "HotpotQA" (Yang et al., EMNLP 2018), which takes SQuAD's normalisation.
"""

import re
import string
from collections import Counter
from dataclasses import dataclass

ANSWER_MARK = re.compile("the answer is", re.IGNORECASE)
# F1 gives no credit for words shared with one of these: "yes" is not half of "yes, both".
CLOSED = frozenset({"yes", "no", "noanswer"})
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Score:
    """Both in [0, 1]."""

    exact_match: float
    f1: float


def extracted_answer(text: str) -> str:
    """What stands after the last "the answer is", to the end of its line; "" where a text has no such words or nothing
    behind them."""
    marks = list(ANSWER_MARK.finditer(text))
    if not marks:
        return ""
    line = text[marks[-1].end() :].lstrip(" \t\n:*").partition("\n")[0]
    return line.strip(" \t*\"'").removesuffix(".").strip(" \t*\"'")


def normalised(answer: str) -> str:
    """Lower case, without punctuation and articles, words separated by one blank; in this order, as the official
    script has it."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def score(predicted: str, gold: str) -> Score:
    """The official scores of one prediction.  An empty prediction has no word right."""
    ours, theirs = normalised(predicted), normalised(gold)
    return Score(float(ours == theirs), _f1(ours, theirs))


def _f1(ours: str, theirs: str) -> float:
    if ours != theirs and (ours in CLOSED or theirs in CLOSED):
        return 0.0
    ours_words, their_words = ours.split(), theirs.split()
    shared = sum((Counter(ours_words) & Counter(their_words)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(ours_words), shared / len(their_words)
    return 2 * precision * recall / (precision + recall)
