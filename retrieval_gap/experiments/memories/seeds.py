"""Runs that differ by their seed alone as one: other starts of the streams, or other orders of what is drawn."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from statistics import stdev
from typing import Any

from retrieval_gap.experiments.memories.comparison import Finished
from retrieval_gap.experiments.memories.rows import COLUMNS, summed_up
from retrieval_gap.runs.experiment import Row
from retrieval_gap.tasks.streams.overlap import first_with_the_steps
from retrieval_gap.text_memory.dialogue import StepRecord
from retrieval_gap.text_memory.memory import Version

# What is summed up anew: all but what the cell and its model say.
_ANEW = {"independent_streams", *COLUMNS[COLUMNS.index("part") : COLUMNS.index("hardware")]}
_ANEW -= {"state_bits", "ceiling", "headings"}


def pooled_over_seeds(found: Sequence[Finished]) -> list[Finished]:
    """For runs of several seeds one more, of all their streams; its `seed` is the list of theirs, such as "0 1 2".  A
    stream that is in several of them, as a whole series is, counts once.

    score_sd: the standard deviation of the seeds' scores, where two or more have streams that no earlier one has.
    """
    groups: dict[str, list[Finished]] = defaultdict(list)
    for run in found:
        groups[repr((run.streams[:-1], run.asked, run.cell.method, run.cell.relevant(), run.cell.judge))].append(run)
    return [_pooled(sorted(runs, key=lambda run: run.cell.seed)) for runs in groups.values() if len(runs) > 1]


def _pooled(runs: Sequence[Finished]) -> Finished:
    kept = _new_streams(runs)
    streams = [[dict(step) | {"stream": number} for step in steps] for number, (_, steps) in enumerate(kept)]
    whole = runs[0].whole
    same: Row = {
        name: whole[name] for name in whole if name not in _ANEW and all(r.whole.get(name) == whole[name] for r in runs)
    }
    same |= {"streams": len(kept), "wall_s": sum(run.whole["wall_s"] for run in runs)}
    same |= {"seed": " ".join(str(run.cell.seed) for run in runs), "config_hash": ""}
    records = [[_record(step) for step in steps] for steps in streams]
    rows = [same | row for row in summed_up(records, drawn=not runs[0].cell.data)]
    scores = [runs[place].whole["score"] for place in dict.fromkeys(place for place, _ in kept)]
    rows[0] |= {} if None in scores or len(scores) < 2 else {"score_sd": stdev(scores)}
    steps = {(step["stream"], step["step"]): step for steps in streams for step in steps}
    return Finished(runs[0].cell, rows, steps)


def _new_streams(runs: Sequence[Finished]) -> list[tuple[int, list[Mapping[str, Any]]]]:
    """The streams that no earlier one repeats, each with the place of its run."""
    every = [(place, steps) for place, run in enumerate(runs) for steps in run.by_stream.values()]
    inputs = [steps for run in runs for steps in run.inputs]
    first = first_with_the_steps(inputs, drawn=not runs[0].cell.data)
    return [each for number, each in enumerate(every) if first[number] == number]


def _record(step: Mapping[str, Any]) -> StepRecord:
    """As `StepRecord.to_json` wrote it."""
    known = {field.name for field in fields(StepRecord)}
    values = {name: value for name, value in step.items() if name in known}
    return StepRecord(**values | {"versions": [Version(**version) for version in step["versions"]]})
