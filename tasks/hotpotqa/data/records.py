"""HotpotQA's records, from any of its public files, each checked before it is used.

Two schemas are recognised by a record's fields: the official one (`_id`, `context` [[title, [sentence]]],
`supporting_facts` [[title, number]]) and the one of Hugging Face (`id`, `context` {title[], sentences[][]},
`supporting_facts` {title[], sent_id[]}).  A file is JSON (one list), JSON lines, or Parquet (named `.parquet`; needs
pyarrow).  White space is normalised: one blank between words, none at either end.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from ...api import TaskError
from ...file_kinds import HALF_A_CHARACTER, holds_half_a_character
from .files import read_records

Kind = Literal["bridge", "comparison", ""]
GOLD_PARAGRAPHS = 2


@dataclass(frozen=True)
class Paragraph:
    """The first paragraph of a Wikipedia article.  A sentence may be empty: supporting facts count it."""

    title: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Question:
    """A question, its answer and the paragraphs that came with it, two of them gold.

    kind: bridge if one paragraph leads to the other, comparison if both are compared; "" if the file does not say.
    level: easy, medium or hard, or "".
    supporting: (title, sentence counted from 0) of each sentence that the answer rests on.
    """

    id: str
    question: str
    answer: str
    kind: Kind
    level: str
    paragraphs: tuple[Paragraph, ...]
    supporting: tuple[tuple[str, int], ...]

    @cached_property
    def gold_titles(self) -> tuple[str, ...]:
        """Titles of the gold paragraphs, in the order in which `supporting` names them first."""
        return tuple(dict.fromkeys(title for title, _ in self.supporting))


@dataclass(frozen=True)
class LeftOut:
    """A record that is not used.  id: "" if it has none; where: such as "record 7" or "line 7", from 1."""

    id: str
    where: str
    reason: str


@dataclass(frozen=True)
class Records:
    """What a file holds: the questions that passed every check, in the file's order, and the others."""

    kept: tuple[Question, ...]
    left_out: tuple[LeftOut, ...]


def read_questions(path: Path | str) -> Records:
    """The questions of a file.  Raises TaskError, in one line, for a file that is missing, has no known format, or
    holds no usable question; OSError if it cannot be read."""
    kept: dict[str, Question] = {}
    left_out: list[LeftOut] = []
    for where, record in read_records(Path(path)):
        identity = _identity(record)
        try:
            question = _question(record)
            if question.id in kept:
                raise _DefectError("its id has been met before")
            kept[question.id] = question
        except _DefectError as defect:
            left_out.append(LeftOut(identity, where, str(defect)))
    if not kept:
        first = f"; {left_out[0].where}: {left_out[0].reason}" if left_out else ""
        raise TaskError(f"{path}: no usable question in it{first}")
    return Records(tuple(kept.values()), tuple(left_out))


class _DefectError(ValueError):
    """What is wrong with one record."""


def _question(record: Any) -> Question:
    """Raises _DefectError, naming the field, for a record that is not a whole question."""
    if isinstance(record, ValueError):
        raise _DefectError(str(record))
    if not isinstance(record, dict):
        raise _DefectError(f"it is not an object but {type(record).__name__}")
    paragraphs = tuple(
        Paragraph(_text(title, "a title"), tuple(_text(sentence, "a sentence") for sentence in _list(sentences)))
        for title, sentences in _pairs(record, "context", "sentences")
    )
    supporting = tuple(
        (_text(title, "a supporting title"), _number(number))
        for title, number in _pairs(record, "supporting_facts", "sent_id")
    )
    question = Question(
        id=_required(record, "_id" if "_id" in record else "id"),
        question=_required(record, "question"),
        answer=_required(record, "answer"),
        kind=_kind(record),
        level=_text(record.get("level") or "", "level"),
        paragraphs=paragraphs,
        supporting=supporting,
    )
    _check_context(question)
    return question


def _check_context(question: Question) -> None:
    """Raises _DefectError if paragraphs and supporting facts are inconsistent."""
    sentences = {paragraph.title: len(paragraph.sentences) for paragraph in question.paragraphs}
    for title, count in Counter(paragraph.title for paragraph in question.paragraphs).items():
        if count > 1:
            raise _DefectError(f"{count} paragraphs have the title {title!r}")
    for paragraph in question.paragraphs:
        if not paragraph.title:
            raise _DefectError("a paragraph has no title")
        if not any(paragraph.sentences):
            raise _DefectError(f"paragraph {paragraph.title!r} is empty")
    for title, number in question.supporting:
        if title not in sentences:
            raise _DefectError(f"supporting paragraph {title!r} is not in its context")
        if not 0 <= number < sentences[title]:
            last = sentences[title] - 1
            raise _DefectError(f"supporting sentence {number} of {title!r} is outside 0..{last}")
    if len(question.gold_titles) != GOLD_PARAGRAPHS:
        raise _DefectError(f"it has {len(question.gold_titles)} gold paragraphs, not {GOLD_PARAGRAPHS}")


def _pairs(record: dict[str, Any], field: str, second: str) -> Iterable[tuple[Any, Any]]:
    """(title, `second`) pairs of a field in either schema."""
    value = record.get(field)
    if value is None:
        raise _DefectError(f"it has no {field}")
    if isinstance(value, dict):
        titles, others = _list(value.get("title")), _list(value.get(second))
        if len(titles) != len(others):
            raise _DefectError(f"{field}: {len(titles)} titles, but {len(others)} in {second}")
        return zip(titles, others, strict=True)
    pairs = _list(value)
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise _DefectError(f"{field}: not a list of [title, {second}]")
    return pairs


def _list(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise _DefectError(f"expected a list, got {_shown(value)}")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise _DefectError(f"{what} is not text but {_shown(value)}")
    if holds_half_a_character(value):
        raise _DefectError(f"{what} {HALF_A_CHARACTER}: {_shown(value)}")
    return " ".join(value.split())


def _number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _DefectError(f"a supporting sentence is not a number but {_shown(value)}")
    return value


def _required(record: dict[str, Any], field: str) -> str:
    text = _text(record.get(field) or "", field)
    if not text:
        raise _DefectError(f"it has no {field.lstrip('_')}")
    return text


def _kind(record: dict[str, Any]) -> Kind:
    kind = _text(record.get("type") or "", "type")
    for known in get_args(Kind):
        if kind == known:
            return known
    raise _DefectError(f"its type is {_shown(kind)}, not bridge or comparison")


def _identity(record: Any) -> str:
    if not isinstance(record, dict):
        return ""
    identity = record.get("_id", record.get("id"))
    return identity if isinstance(identity, str) and not holds_half_a_character(identity) else ""


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) and holds_half_a_character(value) else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
