"""Cells of memory runs that take milliseconds, and their rows."""

from pathlib import Path

from retrieval_gap.experiments.memories.cell import MemoryCell
from retrieval_gap.experiments.memories.finished import Finished, find_finished
from retrieval_gap.llm.config import LLMConfig
from retrieval_gap.runs.experiment import RunOptions
from retrieval_gap.runs.known import known_runs
from retrieval_gap.runs.perform import perform
from retrieval_gap.text_memory.settings import Settings

PASSING = ("wall_s",)


def cell(method: str = "llm_as_rnn", rule: str = "note_taker", budget: int = 40, **settings: object) -> MemoryCell:
    return MemoryCell(
        benchmark="recall",
        method=method,
        options="facts=6 values=4",
        streams=3,
        steps=0,
        settings=Settings(budget=budget, **settings),  # type: ignore[arg-type]
        model=LLMConfig(model=f"scripted:{rule}"),
    )


def performed(chosen: MemoryCell, folder: Path) -> list[dict[str, object]]:
    rows = perform(chosen, RunOptions(runs_dir=folder, threads=1))
    return [{key: value for key, value in row.items() if key not in PASSING} for row in rows]


def finished_in(folder: Path) -> list[Finished]:
    """All finished runs of a folder; none may be unreadable."""
    found, troubles = find_finished(known_runs(folder))
    assert troubles == []
    return found
