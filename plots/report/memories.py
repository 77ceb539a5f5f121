"""The memories of a page: what each finished memory run carried at each step, its feedback, what changed and why."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from retrieval_gap.experiments.memories.cell import STEPS, MemoryCell
from retrieval_gap.experiments.memories.work import read_log
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.runs.known import KnownRun, known_runs
from retrieval_gap.text_memory.settings import METHODS

MEMORY_CHARACTERS = 2_000_000  # of all memories together; the page stays small
_SHOWN = ("step", "time", "input", "asked", "truth", "predicted", "right", "feedback", "carried", "carried_tokens")
_TOLD = ("reason", "told", "tokens", "diff")
Shown = dict[str, Any]


def shown_memories(runs_dirs: Sequence[Path]) -> tuple[list[Shown], list[str]]:
    """The finished memory runs of folders and of the folders in them, methods that write a memory first; and notes on
    what is left out.  Floors carry nothing and are not shown."""
    found, notes, left_out, room = list[Shown](), list[str](), 0, MEMORY_CHARACTERS
    for known, cell in sorted(_memory_runs(runs_dirs), key=_place):
        try:
            shown = _shown(known, cell)
        except (RunError, UsageError) as error:
            notes.append(f"Not shown: {error}.")
            continue
        size = len(str(shown))
        if size > room:
            left_out += 1
        else:
            room -= size
            found.append(shown)
    if left_out:
        notes.append(f"The memories of {left_out} runs are left out: the page would be too large.")
    return found, notes


def _memory_runs(runs_dirs: Sequence[Path]) -> Iterator[tuple[KnownRun, MemoryCell]]:
    for runs_dir in runs_dirs:
        for folder in (runs_dir, *sorted({path.parent.parent for path in runs_dir.glob("*/*/config.json")})):
            for known in known_runs(folder):
                cell = known.experiment
                if isinstance(cell, MemoryCell) and not cell.is_floor and known.run.status() == "done":
                    yield known, cell


def _place(found: tuple[KnownRun, MemoryCell]) -> tuple[Any, ...]:
    cell = found[1]
    written = cell.method != "llm_as_rnn"
    return cell.benchmark, written, METHODS.index(cell.method), cell.relevant().get("budget", 0), found[0].run.path.name


def _shown(known: KnownRun, cell: MemoryCell) -> Shown:
    """Raises RunError, UsageError for a result that cannot be read, or a log that is damaged or of another run."""
    path, relevant = known.run.path / STEPS, cell.relevant()
    settings = [str(relevant[name]) for name in ("feedback", "update") if name in relevant]
    log = read_log(path, known.rows()[0]["config_hash"])
    streams = [
        {"number": number, "steps": [_step(step) for step in steps]}
        for number, steps in groupby(log, key=lambda step: step["stream"])
    ]
    return {"label": " ".join((cell.label(), *settings)), "budget": relevant.get("budget", 0), "streams": streams}


def _step(step: Mapping[str, Any]) -> Shown:
    versions = [{name: version[name] for name in _TOLD} for version in step["versions"]]
    reply = step["reply"][:200] if step["asked"] and step["predicted"] is None else ""
    return {name: step[name] for name in _SHOWN} | {"reply": reply, "versions": versions}
