"""Runs that differ by their seed alone as one: other starts of the streams, or other orders of what is drawn."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from statistics import stdev
from typing import Any

from retrieval_gap.experiments.memories.comparison import Finished
from retrieval_gap.experiments.memories.rows import summed_up
from retrieval_gap.runs.experiment import Row
from retrieval_gap.text_memory.dialogue import StepRecord
from retrieval_gap.text_memory.memory import Version

_SUMMED = ("streams", "wall_s")


def pooled_over_seeds(found: Sequence[Finished]) -> list[Finished]:
    """For runs of several seeds one more, of all their streams; its `seed` is the list of theirs, such as "0 1 2".

    score_sd: the standard deviation of the seeds' scores.
    """
    groups: dict[str, list[Finished]] = defaultdict(list)
    for run in found:
        groups[repr((run.streams[:-1], run.asked, run.cell.method, run.cell.relevant(), run.cell.judge))].append(run)
    return [_pooled(sorted(runs, key=lambda run: run.cell.seed)) for runs in groups.values() if len(runs) > 1]


def _pooled(runs: Sequence[Finished]) -> Finished:
    steps: dict[tuple[int, int], Mapping[str, Any]] = {}
    records: list[list[StepRecord]] = []
    for run in runs:
        before = len(records)
        numbers = dict.fromkeys(stream for stream, _ in run.steps)
        records += [[_record(step) for (of, _), step in run.steps.items() if of == stream] for stream in numbers]
        place = {stream: before + at for at, stream in enumerate(numbers)}
        steps |= {(place[stream], number): step for (stream, number), step in run.steps.items()}
    for number, stream in enumerate(records):
        for record in stream:
            record.stream = number
    same: Row = {name: value for name, value in runs[0].whole.items() if all(r.whole.get(name) == value for r in runs)}
    same |= {name: sum(run.whole[name] for run in runs) for name in _SUMMED}
    same |= {"seed": " ".join(str(run.cell.seed) for run in runs), "config_hash": ""}
    rows = [same | row for row in summed_up(records)]
    scores = [run.whole["score"] for run in runs]
    rows[0] |= {} if None in scores else {"score_sd": stdev(scores)}
    return Finished(runs[0].cell, rows, steps)


def _record(step: Mapping[str, Any]) -> StepRecord:
    """As `StepRecord.to_json` wrote it."""
    known = {field.name for field in fields(StepRecord)}
    values = {name: value for name, value in step.items() if name in known}
    return StepRecord(**values | {"versions": [Version(**version) for version in step["versions"]]})
