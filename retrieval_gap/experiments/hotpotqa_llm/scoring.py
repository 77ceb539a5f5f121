"""The answer that a text gives, and the official scores of HotpotQA: exact match and F1 over normalised words.

Source: the evaluation of "HotpotQA" (Yang et al., EMNLP 2018), which uses SQuAD's normalisation.
"""

import re
import string
from collections import Counter
from dataclasses import dataclass

ANSWER_MARK = re.compile(r"the\s+answer\s+is", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{(.*)\}")
# What models write around an answer, and as hyphens within one.
_AROUND = " \t\r*\"'“”„‟‘’‚‛«»"
_CURLY_AND_HYPHENS = "“”„‟‘’‚‛\u2010\u2011"
# F1 gives no credit for words shared with one of these: "yes" is not half of "yes, both".
CLOSED = frozenset({"yes", "no", "noanswer"})
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation + _CURLY_AND_HYPHENS)


@dataclass(frozen=True)
class Score:
    """Both in [0, 1]."""

    exact_match: float
    f1: float


def extracted_answer(text: str) -> str:
    r"""The text after the last "the answer is", up to the end of its line; without these words, the text in the
    last \boxed{}; "" if there is neither, or nothing follows."""
    marks = list(ANSWER_MARK.finditer(text))
    if not marks:
        return _stripped(_boxed(text))
    line = text[marks[-1].end() :].lstrip(" \t\r\n:*").partition("\n")[0]
    return _stripped(_boxed(line) or line)


def normalised(answer: str) -> str:
    """Change to lower case, remove punctuation, then articles, and separate words by one space: the order of the
    official script.  Curly quotes and typographic hyphens count as punctuation too, as models write them."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def score(predicted: str, gold: str) -> Score:
    """The official scores of one prediction, except if normalisation leaves nothing of both answers ("A", "The The"):
    these are compared as written, so that an empty prediction is never right."""
    ours, theirs = normalised(predicted), normalised(gold)
    if not (ours or theirs):
        return Score(float(predicted.strip().lower() == gold.strip().lower() != ""), 0.0)
    return Score(float(ours == theirs), _f1(ours, theirs))


def _stripped(answer: str) -> str:
    return answer.strip(_AROUND).removesuffix(".").strip(_AROUND)


def _boxed(text: str) -> str:
    """The text in the last \\boxed{}, which may have braces inside; "" if there is none."""
    starts = [found.end() for found in _BOXED.finditer(text)]
    if not starts:
        return ""
    depth, rest = 1, text[starts[-1] :]
    for place, sign in enumerate(rest):
        depth += (sign == "{") - (sign == "}")
        if not depth:
            return _TEXT.sub(r"\1", rest[:place])
    return ""


def _f1(ours: str, theirs: str) -> float:
    if ours != theirs and (ours in CLOSED or theirs in CLOSED):
        return 0.0
    ours_words, their_words = ours.split(), theirs.split()
    shared = sum((Counter(ours_words) & Counter(their_words)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(ours_words), shared / len(their_words)
    return 2 * precision * recall / (precision + recall)
