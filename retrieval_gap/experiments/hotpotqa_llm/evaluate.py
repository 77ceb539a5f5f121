"""Questions put to a model, cell by cell: a cell is a method on one choice of paragraphs.  Each cell's answers are one
file, written when they are complete; what was answered of a cell that is not lies in the cache."""

import hashlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from retrieval_gap.experiments.hotpotqa_llm.methods import Answer, Method, dialogue
from retrieval_gap.experiments.hotpotqa_llm.prompts import exemplars_hash
from retrieval_gap.experiments.hotpotqa_llm.scoring import score
from retrieval_gap.llm.cache import Cache
from retrieval_gap.llm.client import Client
from retrieval_gap.llm.config import AskConfig, ModelConfig, Price
from retrieval_gap.llm.request import Backend, Request
from retrieval_gap.machine import environment
from retrieval_gap.machine.errors import RunError
from retrieval_gap.machine.files import make_folder, write_text
from retrieval_gap.tasks.hotpotqa.data.records import Question, read_questions
from retrieval_gap.tasks.hotpotqa.data.subsets import Shown, SubsetConfig, Subsets


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A model, and the cells that it is asked: every method on every choice of paragraphs."""

    model: ModelConfig
    methods: Sequence[Method]
    subsets: Sequence[SubsetConfig]
    ask: AskConfig
    data: Path
    questions: int
    out_dir: Path
    price: Price


@dataclass(frozen=True, kw_only=True)
class Data:
    """The questions of a file.  limit: how many were taken from its start, 0 for all."""

    name: str
    sha256: str
    limit: int
    questions: tuple[Question, ...]
    unusable: int


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What decides a cell's answers: a model and where it runs, the method, the paragraphs, the data, the prompt."""

    model: str
    backend: dict[str, Any]
    method: Method
    ask: AskConfig
    subset: SubsetConfig
    data: str
    questions: int
    exemplars: str

    def file(self) -> str:
        """A name that tells a cell, and a hash that tells all of it."""
        text = json.dumps(asdict(self), sort_keys=True)
        subset = self.subset
        parts = (self.model, self.method, f"n{subset.n_paragraphs}", subset.order, subset.variant, f"s{subset.seed}")
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(parts)).strip(".")
        return f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.jsonl"


def evaluate(plan: Plan, make_backend: Callable[[], Backend]) -> list[Path]:
    """The files of the plan's answers, one a cell; prints what was spent, whether it comes to its end or not.

    Raises TaskError for data that cannot be used, RunError where the model fails.
    """
    data = read_data(plan.data, plan.questions)
    if data.unusable:
        print(f"{data.unusable} records of {plan.data} are not usable and were left out", file=sys.stderr)
    backend = make_backend()
    cache = Cache(plan.out_dir / "replies.sqlite")
    try:
        client = Client(backend, cache)
        try:
            return [
                evaluate_cell(client, cell_of(client, plan, method, subset, data), data, plan.out_dir)
                for method in plan.methods
                for subset in plan.subsets
            ]
        finally:
            print(client.spent.told(plan.price), file=sys.stderr, flush=True)
    finally:
        cache.close()


def show_plan(plan: Plan) -> None:
    """Prints the cells with the words of their first requests, and the first of all; asks nothing."""
    data, first = read_data(plan.data, plan.questions), ""
    for method in plan.methods:
        for subset in plan.subsets:
            subsets = Subsets(data.questions, subset)
            prompts = [next(dialogue(subsets.shown(each), method, plan.ask)).prompt for each in subsets.questions]
            words = sorted(len(prompt.split()) for prompt in prompts) or [0]
            print(
                f"{method}, n = {subset.n_paragraphs}, {subset.order}, {subset.variant}: {len(prompts)} questions, "
                f"{len(subsets.left_out)} have too few paragraphs; prompts of {words[len(words) // 2]:,} words, "
                f"{words[-1]:,} at most, {sum(words):,} in all"
            )
            first = first or (prompts or [""])[0]
    print(f"\nThe first prompt:\n{first}")


def read_data(path: Path, limit: int) -> Data:
    """Raises TaskError for a file without usable questions."""
    records = read_questions(path)
    return Data(
        name=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:16],
        limit=limit,
        questions=records.kept[: limit or None],
        unusable=len(records.left_out),
    )


def cell_of(client: Client, plan: Plan, method: Method, subset: SubsetConfig, data: Data) -> Cell:
    return Cell(
        model=plan.model.shown_name,
        backend=client.backend.described,
        method=method,
        ask=plan.ask,
        subset=subset,
        data=data.sha256,
        questions=data.limit,
        exemplars=exemplars_hash(),
    )


def evaluate_cell(client: Client, cell: Cell, data: Data, folder: Path) -> Path:
    """Puts the cell's questions to the model, unless that is done, and returns the file of its answers.

    Raises RunError where the model fails; what it answered until then is in the cache.
    """
    path = folder / cell.file()
    if path.is_file():
        return path
    subsets = Subsets(data.questions, cell.subset)
    if not subsets.questions:
        raise RunError(f"{data.name}: no question has enough paragraphs ({subsets.left_out[0].reason})")
    shown = [subsets.shown(question) for question in subsets.questions]
    answers = answer_all(client, shown, cell.method, cell.ask)
    head = {
        "cell": asdict(cell),
        "data": data.name,
        "unusable": data.unusable,
        "too_few_paragraphs": len(subsets.left_out),
        **{key: environment.describe()[key] for key in ("torch", "commit")},
        "hardware": client.backend.hardware,
    }
    lines = [head, *(_line(s.question, answer) for s, answer in zip(shown, answers, strict=True))]
    make_folder(folder)
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    return path


def answer_all(client: Client, shown: Sequence[Shown], method: Method, ask: AskConfig) -> list[Answer]:
    """All questions together: each round asks what every unfinished dialogue wants to know next."""
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
    return [answers[place] for place in range(len(shown))]


def _line(question: Question, answer: Answer) -> dict[str, Any]:
    scored = score(answer.predicted, question.answer)
    return {"id": question.id, "answer": question.answer, **asdict(scored), **asdict(answer)}
