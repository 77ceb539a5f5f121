"""Puts the questions of a file to a model and writes the answers to a file: a header with the settings, then a line
for each question."""

import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retrieval_gap.experiments.hotpotqa_llm.methods import Answer, Method, dialogue
from retrieval_gap.experiments.hotpotqa_llm.scoring import score
from retrieval_gap.llm.client import Client
from retrieval_gap.llm.config import AskConfig
from retrieval_gap.llm.request import Request
from retrieval_gap.machine import environment
from retrieval_gap.machine.errors import RunError
from retrieval_gap.machine.files import sha256_of, write_text
from retrieval_gap.tasks.api import TaskError
from retrieval_gap.tasks.hotpotqa.data.records import Question, read_questions
from retrieval_gap.tasks.hotpotqa.data.subsets import Shown, SubsetConfig, Subsets


@dataclass(frozen=True, kw_only=True)
class QuestionFile:
    """The questions of a file.  limit: how many were taken from its start, 0 for all."""

    name: str
    sha256: str
    limit: int
    questions: tuple[Question, ...]
    unusable: int


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    """The settings of a file of answers: the model and where it runs, the method, the paragraphs, the data, the prompt.

    backend: its own description.  data, exemplars: hashes.  questions: the limit of the data.
    """

    model: str
    backend: dict[str, Any]
    method: Method
    ask: AskConfig
    subset: SubsetConfig
    data: str
    questions: int
    exemplars: str


def read_data(path: Path, limit: int) -> QuestionFile:
    """Read a file.  Raises TaskError if it has no usable questions."""
    records = read_questions(path)
    return QuestionFile(
        name=path.name,
        sha256=data_hash(path),
        limit=limit,
        questions=records.kept[: limit or None],
        unusable=len(records.left_out),
    )


def data_hash(path: Path) -> str:
    """16 hex digits of a data file's content.  Raises TaskError if there is no such file."""
    try:
        state = path.stat()
        return _content_hash(path, state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise TaskError(f"no such data file: {path}") from error


@functools.lru_cache(8)
def _content_hash(path: Path, size: int, changed_ns: int) -> str:
    """size, changed_ns: in the cache's key, so that a changed file is read again."""
    return sha256_of(path)[:16]


def write_answers(
    path: Path, client: Client, asked: AnswerSettings, data: QuestionFile, on_progress: Callable[[int, int], None]
) -> None:
    """Put the questions to the model, and write the file when all are answered.

    on_progress: called once per round with the numbers of answered and of all questions.
    Raises RunError if the model fails or no question has enough paragraphs; answers until then are in the cache.
    """
    subsets = Subsets(data.questions, asked.subset)
    if not subsets.questions:
        raise RunError(f"{data.name}: no question has enough paragraphs ({subsets.left_out[0].reason})")
    shown = [subsets.shown(question) for question in subsets.questions]
    answers = answer_all(client, shown, asked.method, asked.ask, on_progress)
    head = {
        "cell": asdict(asked),
        "data": data.name,
        "unusable": data.unusable,
        "too_few_paragraphs": len(subsets.left_out),
        **{key: environment.describe()[key] for key in ("torch", "commit")},
        "hardware": client.backend.hardware,
    }
    lines = [head, *(_line(s.question, answer) for s, answer in zip(shown, answers, strict=True))]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def answer_all(
    client: Client, shown: Sequence[Shown], method: Method, ask: AskConfig, on_progress: Callable[[int, int], None]
) -> list[Answer]:
    """Answer all questions together: each round sends the next request of every unfinished dialogue."""
    dialogues = [dialogue(each, method, ask) for each in shown]
    answers: dict[int, Answer] = {}
    waiting: dict[int, Request] = {place: next(each) for place, each in enumerate(dialogues)}
    while waiting:
        replies = client.ask(list(waiting.values()), f"{method}, {len(waiting)} of {len(shown)} questions")
        asked, waiting = list(waiting), {}
        for place, reply in zip(asked, replies, strict=True):
            try:
                waiting[place] = dialogues[place].send(reply)
            except StopIteration as end:
                answers[place] = end.value
        on_progress(len(answers), len(shown))
    return [answers[place] for place in range(len(shown))]


def _line(question: Question, answer: Answer) -> dict[str, Any]:
    scored = score(answer.predicted, question.answer)
    return {"id": question.id, "answer": question.answer, **asdict(scored), **asdict(answer)}
