"""Reads files of answers: those in run directories, and those from before run directories, in the folder itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from retrieval_gap.machine.errors import RunError, UsageError, unknown

ANSWERS = "answers.jsonl"
_HEAD = {"model", "backend", "method", "ask", "data", "questions", "subset", "exemplars"}
_NUMBERS = ("exact_match", "f1", "searches", "failed_searches", "gold_kept", "read", "written")


@dataclass(frozen=True, kw_only=True)
class Done:
    """A file of answers: its header, and its answers by question."""

    path: Path
    head: dict[str, Any]
    answers: dict[str, dict[str, Any]]

    @property
    def name(self) -> str:
        """12 hex digits that name the run."""
        where = self.path.parent.name if self.path.name == ANSWERS else self.path.stem
        return where.rpartition("-")[2]

    @property
    def cell(self) -> dict[str, Any]:
        found: dict[str, Any] = self.head["cell"]
        return found

    @property
    def subset(self) -> dict[str, Any]:
        found: dict[str, Any] = self.cell["subset"]
        return found

    @property
    def questions(self) -> tuple[Any, ...]:
        """Equal for two files with the same questions, asked in the same way."""
        return (self.cell["data"], self.cell["questions"], self.subset["seed"], self.cell["exemplars"])

    @property
    def curve(self) -> tuple[Any, ...]:
        """Equal for the files that differ only in n, order and model."""
        return (self.cell["method"], self.subset["variant"], self.subset["distractors"])

    @property
    def selects(self) -> bool:
        """Whether it shows which questions a model answers from the gold paragraphs alone."""
        return self.cell["method"] == "cot" and self.subset["variant"] == "plain" and self.subset["n_paragraphs"] == 2

    def right(self) -> set[str]:
        return {name for name, answer in self.answers.items() if answer["exact_match"] == 1}

    def asked(self) -> set[str]:
        return self.answers.keys() - self.too_long()

    def too_long(self) -> set[str]:
        return {name for name, answer in self.answers.items() if answer["too_long"]}


def read_done(path: Path) -> Done:
    """Read a file.  Raises RunError if no evaluation wrote it."""
    try:
        # split at line feeds only: an answer may hold U+2028 and the like
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        head, *answers = (json.loads(line) for line in lines)
        done = Done(path=path, head=head, answers={answer["id"]: answer for answer in answers})
        if not done.cell.keys() >= _HEAD:
            raise ValueError("its first line is not a header")
        if len(done.answers) < len(answers):
            raise ValueError("it answers a question twice")
        for answer in answers:
            _check_answer(answer)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise RunError(f"{path} holds no answers of `pretrained hotpotqa` ({error}); move it away") from error
    return done


def find_done(folder: Path, models: Sequence[str]) -> list[Done]:
    """The finished files in a folder and its run directories, of these models or, if none is named, of all.  One that
    was made again in a run directory is taken from there.

    Raises UsageError for a missing folder or model, RunError for a damaged file.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of answers; `retrieval-gap pretrained hotpotqa` makes one")
    found = [read_done(path) for path in sorted(folder.glob(f"*/{ANSWERS}"))]
    again = [_first_form(done.cell) for done in found]
    found += [done for done in map(read_done, sorted(folder.glob("*.jsonl"))) if done.cell not in again]
    names = {done.cell["model"] for done in found}
    for model in models:
        if model not in names:
            raise unknown(f"model in {folder}", model, sorted(names))
    return [done for done in found if not models or done.cell["model"] in models]


def _first_form(cell: dict[str, Any]) -> dict[str, Any]:
    """A cell as files from before run directories have it: without the server's report about its model."""
    return cell | {"backend": {key: value for key, value in cell["backend"].items() if key != "told"}}


def _check_answer(answer: dict[str, Any]) -> None:
    """Raises ValueError or TypeError for an invalid value."""
    for key in _NUMBERS:
        if type(answer[key]) not in (int, float) or not answer[key] >= 0:
            raise ValueError(f"{key} = {answer[key]!r} of {answer['id']!r:.40}")
    if max(answer["exact_match"], answer["f1"]) > 1:
        raise ValueError(f"a score above 1 of {answer['id']!r:.40}")
    if not isinstance(answer["predicted"], str) or not isinstance(answer["too_long"], str):
        raise TypeError(f"predicted or too_long of {answer['id']!r:.40} is not text")
