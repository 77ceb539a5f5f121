"""Finished runs, to be compared: rows are computed again from their logs, by the current statistics."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

from retrieval_gap.experiments.memories.cell import STEPS, MemoryCell
from retrieval_gap.experiments.memories.rows import COLUMNS, summed_up
from retrieval_gap.experiments.memories.work import read_log
from retrieval_gap.machine.errors import RunError
from retrieval_gap.runs.directory import AGAIN
from retrieval_gap.runs.experiment import Row, hash_of
from retrieval_gap.runs.known import KnownRun, read_each
from retrieval_gap.runs.user_files import kept_digest
from retrieval_gap.tasks.streams.overlap import Steps, linked_by_steps
from retrieval_gap.text_memory.dialogue import StepRecord
from retrieval_gap.text_memory.memory import Version
from retrieval_gap.text_memory.settings import FLOORS, METHODS

# Columns computed again: all but those about the cell and its model.
_ANEW = {"independent_streams", *COLUMNS[COLUMNS.index("part") : COLUMNS.index("hardware")]}
_ANEW -= {"state_bits", "ceiling", "headings", "wall_s"}


@dataclass(frozen=True)
class Finished:
    """A finished run: its cell, its rows, and its steps by (stream, step).  code: digest of a user's benchmark when the
    run was made, "" for a built-in one."""

    cell: MemoryCell
    rows: list[Row]
    steps: Mapping[tuple[int, int], Mapping[str, Any]]
    code: str = ""

    @property
    def whole(self) -> Row:
        return self.rows[0]

    @cached_property
    def by_stream(self) -> dict[int, list[Mapping[str, Any]]]:
        found: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
        for (stream, _), step in self.steps.items():
            found[stream].append(step)
        return dict(found)

    @property
    def inputs(self) -> list[Steps]:
        """For each stream, the times and inputs of its steps."""
        return [[(step["time"], step["input"]) for step in steps] for steps in self.by_stream.values()]

    @cached_property
    def groups(self) -> dict[int, int]:
        """By stream: streams that share steps are in one group."""
        sets = linked_by_steps(self.inputs, drawn=not self.cell.data)
        return dict(zip(self.by_stream, sets, strict=True))

    @property
    def streams(self) -> tuple[Any, ...]:
        """Equal for runs on the same streams; the last is the seed."""
        names = ("benchmark", "target", "options", "data_sha256", "streams", "steps", "seed")
        return (self.code, *(self.whole[name] for name in names))

    @cached_property
    def asked_and_true(self) -> str:
        """Digest of the inputs and truths of all steps."""
        names = ("stream", "step", "time", "input", "truth")
        return hash_of({"steps": [[step[name] for name in names] for step in self.steps.values()]})

    def has_steps_of(self, other: "Finished") -> bool:
        """Whether both have the same steps: the same streams, and the same input and truth of each step.  In a run from
        before files were kept, only the steps show that its benchmark was another."""
        return self.streams == other.streams and self.asked_and_true == other.asked_and_true

    @property
    def asked(self) -> tuple[Any, ...]:
        """Equal for runs that ask the same model in the same form."""
        settings = self.cell.server_settings
        return (self.whole["model"], self.whole["api"], self.whole.get("answer"), *sorted(settings.items()))


def find_finished(known: Sequence[KnownRun]) -> tuple[list[Finished], list[str]]:
    """The finished memory runs, and a line for each that cannot be read.

    A benchmark's file and the data may have changed or gone since: a run is identified by what it was made with.
    """
    found, troubles = read_each(known, MemoryCell, _finished)
    order = {name: place for place, name in enumerate((*FLOORS, *METHODS))}
    found.sort(key=lambda each: (*map(str, each.streams), str(each.asked), order[each.cell.method],
                                 each.whole.get("budget") or 0, str(each.cell.relevant())))  # fmt: skip
    return found, troubles


def _finished(known: KnownRun) -> Finished:
    whole, *_ = known.rows()
    cell, path = known.experiment, known.run.path / STEPS
    assert isinstance(cell, MemoryCell), "no other has got so far"
    log = read_log(path, whole["config_hash"])
    rows = summed_anew(cell_columns(whole), log, drawn=not cell.data)
    if rows[0]["predictions"] != whole["predictions"] or not _same(rows[0]["score"], whole["score"]):
        raise RunError(f"{path} gives a score of {rows[0]['score']}, and the run's result {whole['score']}; {AGAIN}")
    code = kept_digest(known.run.path, cell.benchmark)
    return Finished(cell, rows, {(step["stream"], step["step"]): step for step in log}, code)


def cell_columns(whole: Row) -> Row:
    """The columns of a row about its cell and its model, without measurements."""
    return {name: value for name, value in whole.items() if name not in _ANEW}


def summed_anew(told: Row, log: Sequence[Mapping[str, Any]], *, drawn: bool) -> list[Row]:
    """Compute the rows of a log's steps.  told: columns about the cell, added to each row."""
    streams: dict[int, list[StepRecord]] = defaultdict(list)
    for step in log:
        streams[step["stream"]].append(_record(step))
    return [told | row for row in summed_up(list(streams.values()), drawn=drawn)]


def _record(step: Mapping[str, Any]) -> StepRecord:
    """Read back what `StepRecord.to_json` wrote."""
    known = {field.name for field in fields(StepRecord)}
    values = {name: value for name, value in step.items() if name in known}
    return StepRecord(**values | {"versions": [Version(**version) for version in step["versions"]]})


def _same(first: float | None, second: float | None) -> bool:
    if first is None or second is None:
        return first is second
    return math.isclose(first, second, rel_tol=1e-9, abs_tol=1e-9)
