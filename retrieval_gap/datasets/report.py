"""Report what a file of HotpotQA questions contains, and which records are left out."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from retrieval_gap.machine.files import sha256_of
from retrieval_gap.tasks.hotpotqa.data.records import LeftOut, Question, Records, read_questions


def print_report(path: Path, everything: bool) -> None:
    """Print counts of what is kept, then what is left out: the first twenty, or all if `everything`.  Raises TaskError
    for an invalid file."""
    records = read_questions(path)
    print(f"{path}: {len(records.kept):,} questions, {len(records.left_out):,} left out")
    for name, told in _counts(records):
        print(f"  {name:<12}{told}")
    _print_left_out(records.left_out, everything)
    print(f"  {'SHA-256':<12}{sha256_of(path)}")


def _counts(records: Records) -> Iterable[tuple[str, str]]:
    questions = records.kept
    yield "type", _told(question.kind or "not said" for question in questions)
    yield "level", _told(question.level or "not said" for question in questions)
    yield "answer", _told("yes or no" if question.answer in ("yes", "no") else "other" for question in questions)
    yield "paragraphs", _told(f"with {len(question.paragraphs)}" for question in questions)
    words = [_words(question) for question in questions]
    yield "words", f"{median(words):,.0f} in all paragraphs (median; {min(words):,} to {max(words):,})"


def _told(values: Iterable[str]) -> str:
    return ", ".join(f"{count:,} {value}" for value, count in Counter(values).most_common())


def _words(question: Question) -> int:
    return sum(len(part.split()) for p in question.paragraphs for part in (p.title, *p.sentences))


def _print_left_out(left_out: tuple[LeftOut, ...], everything: bool) -> None:
    shown = left_out if everything else left_out[:20]
    for left in shown:
        print(f"  left out: {left.where}{f' ({left.id})' if left.id else ''}: {left.reason}")
    if len(left_out) > len(shown):
        print(f"  ... and {len(left_out) - len(shown):,} more (--all lists them)")
