"""Works through a cell's streams: asks, logs every step, computes the rows.

Answers are kept in the cache of the folder of runs, so a run that was killed asks nothing twice and gives the same
rows.
"""

import functools
import json
import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval_gap.experiments.memories.cell import STEPS, MemoryCell, data_hash
from retrieval_gap.experiments.memories.rows import summed_up
from retrieval_gap.llm.cache import REPLIES, Cache
from retrieval_gap.llm.client import Client
from retrieval_gap.machine import environment
from retrieval_gap.machine.errors import RunError, UsageError
from retrieval_gap.machine.files import write_text
from retrieval_gap.runs.experiment import Row, RunOptions
from retrieval_gap.tasks.streams.stream import Benchmark, Stream, Target
from retrieval_gap.text_memory.asking import Speaker
from retrieval_gap.text_memory.dialogue import StepRecord, stream_dialogue
from retrieval_gap.text_memory.floors import floor_records
from retrieval_gap.text_memory.lockstep import run_in_lockstep
from retrieval_gap.text_memory.memory import Memory, Version
from retrieval_gap.text_memory.methods import UNBOUNDED
from retrieval_gap.text_memory.scripted import PREFIX, ScriptedBackend
from retrieval_gap.text_memory.tokens import Counter

if TYPE_CHECKING:
    from retrieval_gap.llm.request import LLMBackend
    from retrieval_gap.runs.directory import RunDirectory

_ALWAYS = {field.name for field in fields(StepRecord)} - {"cut", "judge_unreadable"}  # these were added later
_OF_VERSION = {field.name for field in fields(Version)}


def work_through(cell: MemoryCell, run: "RunDirectory", options: RunOptions) -> list[Row]:
    """Return the rows of a cell, and write its log to the run's directory.

    Raises UsageError for a budget that is invalid with this model, RunError if the model fails.
    """
    benchmark = cell.build()
    target, streams = benchmark.target(cell.target), cell.chosen_streams(benchmark)
    started, told = time.monotonic(), dict[str, Any]()
    if cell.is_floor:
        records = [floor_records(cell.method, benchmark, stream, target) for stream in streams]
    else:
        report = _StreamReports(run, sum(len(stream.steps) for stream in streams), options.checkpoint_seconds)
        records, told = _asked(cell, benchmark, target, streams, options, report)
    _write_log(run.path / STEPS, cell, records)
    same = _what(cell, benchmark, target, len(streams)) | told
    same |= {"wall_s": time.monotonic() - started} | {k: environment.describe()[k] for k in ("torch", "commit")}
    return [same | row for row in summed_up(records, drawn=not cell.data)]


def _asked(
    cell: MemoryCell,
    benchmark: Benchmark,
    target: Target,
    streams: Sequence[Stream],
    options: RunOptions,
    report: "_StreamReports",
) -> tuple[list[list[StepRecord]], dict[str, Any]]:
    """The records, and the columns that depend on the model."""
    backend = backend_of(cell)
    count = Counter(backend.count_tokens)
    headings = check_budget(cell, backend, count)
    speakers = [Speaker(benchmark, stream, target, cell.settings, count) for stream in streams]
    report.of = speakers
    with closing(Cache(options.runs_dir / REPLIES)) as cache:
        client = Client(backend, cache)
        judge = Client(backend_of(cell, judge=True), cache) if _has_judge(cell) else client
        talks = [stream_dialogue(speaker, cell.method) for speaker in speakers]
        records = run_in_lockstep(talks, client, judge, what=cell.label(), after_round=report)
    bits = _state_bits(cell, backend.vocabulary)
    told = {"hardware": backend.hardware, "state_bits": bits, "headings": headings}
    return records, told | {"ceiling": _ceiling(benchmark, bits)}


def check_budget(cell: MemoryCell, backend: "LLMBackend", count: Counter) -> int:
    """Tokens in the empty memory's headings, 0 for methods without them.

    Raises UsageError for a budget below them, or one that does not fit into the model's context.
    """
    budget, limit = cell.settings.budget, backend.context_limit
    if "budget" in cell.relevant() and limit and budget >= limit:
        raise UsageError(f"--budget {budget} does not fit into the model's context of {limit} tokens")
    if cell.method not in ("llm_as_rnn", "no_update"):
        return 0
    headings = count(Memory().text)
    check_headings(budget, headings)
    return headings


def check_headings(budget: int, headings: int) -> None:
    """Raises UsageError for a budget that the empty memory exceeds."""
    if budget < headings:
        raise UsageError(f"--budget {budget} is smaller than the {headings} tokens of the empty memory's headings")


def backend_of(cell: MemoryCell, *, judge: bool = False) -> "LLMBackend":
    """The model that predicts, or the one that judges; a local one is loaded once per process."""
    assert cell.model is not None, "checked by validate"
    model = replace(cell.model, model=cell.judge, name="") if judge else cell.model
    if model.model.startswith(PREFIX):
        return ScriptedBackend(model.model.removeprefix(PREFIX), context_limit=model.context_limit)
    return _loaded(model, cell.local, cell.server)


@functools.lru_cache(maxsize=2)
def _loaded(model: Any, local: Any, server: Any) -> "LLMBackend":
    from retrieval_gap.llm.backends import make_backend

    return make_backend(model, local, server)


def read_log(path: Path, made_as: str) -> list[dict[str, Any]]:
    """The steps of a run's log.  made_as: the hash that the run was made with; its files may have changed since.
    Raises RunError for a log that is damaged or of another run."""
    try:
        # Split at line feeds only: a reply may hold U+2028 and the like.
        lines = path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        head, *steps = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}); delete the run and start it again") from error
    if not isinstance(head, dict) or head.get("run") != made_as:
        raise RunError(f"{path} is the log of another run ({head.get('run') if isinstance(head, dict) else 'none'})")
    if not steps or not all(_is_step(step) for step in steps):
        raise RunError(f"{path} has a line that is not a step; delete the run and start it again")
    return steps


def _is_step(step: Any) -> bool:
    """Whether a line has the fields that every log has, with the right types."""
    if not isinstance(step, dict) or not step.keys() >= _ALWAYS:
        return False
    counts = (step[name] for name in ("stream", "step", "carried_tokens", "calls", "read", "written"))
    scores = (step["value"], *(step["measures"].values() if isinstance(step["measures"], dict) else "?"))
    return (
        all(type(count) is int for count in counts)
        and all(score is None or type(score) in (int, float) for score in scores)
        and type(step["time"]) in (int, str)
        and step["asked"] in (True, False)
        and step["right"] in (True, False, None)
        and all(isinstance(step[name], str) for name in ("input", "carried", "reply", "feedback"))
        and isinstance(step["versions"], list)
        and all(isinstance(version, dict) and version.keys() == _OF_VERSION for version in step["versions"])
    )


def _write_log(path: Path, cell: MemoryCell, records: Sequence[Sequence[StepRecord]]) -> None:
    """Write a first line that names the run, then a line per step, stream by stream."""
    lines = [{"run": cell.hash(), "label": cell.label()}]
    lines += [record.to_json() for stream in records for record in stream]
    write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _what(cell: MemoryCell, benchmark: Benchmark, target: Target, streams: int) -> Row:
    """The columns about the cell; settings that do not change its method are left empty."""
    return (
        {
            "benchmark": benchmark.name,
            "target": target.name,
            "options": benchmark.config.options,
            "data": Path(cell.data).name,
            "data_sha256": data_hash(cell.data),
            "streams": streams,
            "steps": cell.steps,
            "seed": cell.seed,
            "model": cell.model_name,
            "api": cell.model.api if cell.model_name and cell.model else "",
            "method": cell.method,
            "judge": cell.judge if cell.relevant().get("feedback") == "judge" else "",
            "config_hash": cell.hash(),
        }
        | cell.relevant()
        | cell.server_settings
    )


def _state_bits(cell: MemoryCell, vocabulary: int) -> float | None:
    """Bits of a text of `budget` tokens; 0 if the method carries nothing; None without a bound or a vocabulary."""
    if cell.method in UNBOUNDED:
        return None
    if "budget" not in cell.relevant():
        return 0.0
    return cell.settings.budget * math.log2(vocabulary) if vocabulary else None


def _ceiling(benchmark: Benchmark, bits: float | None) -> float | None:
    """The best accuracy that any reader with so many bits can have; None if the benchmark has no bound."""
    from retrieval_gap.tasks.streams.recall import Recall
    from retrieval_gap.theory.best_cells import independent_scores

    if bits is None or not isinstance(benchmark, Recall):
        return None
    scores = independent_scores(benchmark.options.facts, benchmark.options.values)
    return float(scores.ceiling(math.ceil(bits)))


def _has_judge(cell: MemoryCell) -> bool:
    return cell.settings.feedback == "judge" and bool(cell.judge)


class _StreamReports:
    """Writes the run's progress to its metrics.jsonl, at most once every `seconds`."""

    def __init__(self, run: "RunDirectory", total: int, seconds: float) -> None:
        self._run, self._total, self._seconds = run, total, seconds
        self._started = self._last = time.monotonic()
        self._round = 0
        self.of: Sequence[Speaker] = ()

    def __call__(self, ended: int) -> None:
        now = time.monotonic()
        self._round += 1
        if now - self._last < self._seconds:
            return
        self._last = now
        done, spent = sum(speaker.done for speaker in self.of), now - self._started
        told = {"step": self._round, "samples": done, "total": self._total, "unit": "steps", "wall_s": spent}
        self._run.add_report(told | {"samples_per_s": done / spent})
