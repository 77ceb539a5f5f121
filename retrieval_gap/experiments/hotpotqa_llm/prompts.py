"""The prompt of a model: instructions, four worked examples, then the paragraphs and the question.

Each passage is one line: `.` in an expression does not match a line's end, so matches stay within a passage.
"""

import functools
import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from retrieval_gap.experiments.hotpotqa_llm.searching import END, FAILED, START, paragraph_text, regex_search
from retrieval_gap.tasks.hotpotqa.data.subsets import ShownParagraph

Style = Literal["cot", "regex"]
EXEMPLARS = Path(__file__).with_name("exemplars.toml")
# What a model writes when it goes on with the next example instead of ending.
NEXT_EXAMPLE = ("\nPassages:", "\nQuestion:")
_TASK = 'Answer each question from the passages before it. Think step by step and end with "So the answer is:".'
_SEARCHING = (
    f"To look something up in the passages, write a regular expression between {START} and {END}; what it finds is "
    f"appended, or {FAILED}."
)


@dataclass(frozen=True, kw_only=True)
class Exemplar:
    """A worked example.  regex: the chain of thought with searches, without their results."""

    question: str
    answer: str
    cot: str
    regex: str
    paragraphs: tuple[ShownParagraph, ...]


@functools.cache
def exemplars() -> tuple[Exemplar, ...]:
    """The exemplars of exemplars.toml."""
    return tuple(
        Exemplar(
            question=each["question"],
            answer=each["answer"],
            cot=each["cot"].strip(),
            regex=each["regex"].strip(),
            paragraphs=tuple(ShownParagraph(p["title"], (p["text"],), True) for p in each["passage"]),
        )
        for each in tomllib.loads(EXEMPLARS.read_text(encoding="utf-8"))["exemplar"]
    )


@functools.cache
def exemplars_hash() -> str:
    """Hash of the prompts' fixed part in both styles: results with different hashes had different prompts."""
    return hashlib.sha256((_head("cot") + _head("regex")).encode()).hexdigest()[:12]


def prompt(question: str, paragraphs: Sequence[ShownParagraph], style: Style) -> str:
    """The whole prompt for a question."""
    return f"{_head(style)}{_asked(question, paragraphs)}"


def with_results(text: str, paragraphs: Sequence[ShownParagraph]) -> str:
    """The text with the result of each search inserted after it."""
    head, *rest = text.split(END)
    written = head
    for part in rest:
        pattern = written.rpartition(START)[2].strip()
        written += f"{END} {regex_search(pattern, paragraphs)}{part}"
    return written


@functools.cache
def _head(style: Style) -> str:
    parts = [_TASK if style == "cot" else f"{_TASK} {_SEARCHING}"]
    for each in exemplars():
        worked = each.cot if style == "cot" else with_results(each.regex, each.paragraphs)
        parts.append(f"{_asked(each.question, each.paragraphs)} {worked}")
    return "\n\n".join(parts) + "\n\n"


def _asked(question: str, paragraphs: Sequence[ShownParagraph]) -> str:
    passages = "\n".join(f"[{number}] {paragraph_text(p)}" for number, p in enumerate(paragraphs, start=1))
    return f"Passages:\n{passages}\n\nQuestion: {question}\nAnswer:"
