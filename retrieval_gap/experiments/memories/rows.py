"""The rows of a cell: over all of its predictions, and by step."""

import math
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from retrieval_gap.runs.experiment import Row
from retrieval_gap.tasks.streams.overlap import linked_by_steps

if TYPE_CHECKING:
    from retrieval_gap.text_memory.dialogue import StepRecord

MEASURES = ("right", "squared", "absolute", "direction", "acc_at_1", "acc_at_5", "exact", "graded")
REASONS = ("written", "consolidated", "second try", "unchanged", "over budget", "cut", "unreadable", "echo", "gate")
REFUSED = REASONS[4:]  # the old memory was kept
# The contract of results/memory_*.csv.  A row of `part` "all" is over all predictions; one of "steps" over those of
# first_step to last_step, and has no tokens.  score: what methods are compared by; higher is better.
# independent_streams: number of sets of streams that share no step with another set; intervals are over these.
COLUMNS = (
    "benchmark", "target", "options", "data", "data_sha256", "streams", "independent_streams", "steps", "seed", "model",
    "api", "method", "budget", "feedback", "update", "gate", "k", "answer", "temperature", "draw", "thinking",
    "judge", "system_as", "tokenizer",
    "part", "first_step", "last_step", "predictions", "unreadable", "answers_cut", "score", "score_low", "score_high",
    *MEASURES, "right_after_wrong", "after_wrong", "state_bits", "ceiling", "headings", "carried_mean", "carried_most",
    *(f"updates_{reason.replace(' ', '_')}" for reason in REASONS), "judge_unreadable",
    "calls", "read", "written", "wall_s", "hardware", "torch", "commit", "config_hash",
)  # fmt: skip
BINS = 10


def summed_up(records: Sequence[Sequence["StepRecord"]], *, drawn: bool) -> list[Row]:
    """The rows of all streams' records, without the columns about the cell: first the row over all, then by
    step.  drawn: the streams are not read from data, so no two are the same."""
    flat = [record for stream in records for record in stream]
    sets = linked_by_steps([[(record.time, record.input) for record in stream] for stream in records], drawn=drawn)
    groups = {stream[0].stream: first for stream, first in zip(records, sets, strict=True)}
    whole = {"independent_streams": len(set(sets))} | _scores(flat, groups) | _after_wrong(records) | _tokens(flat)
    rows = [{"part": "all", "first_step": 0, "last_step": max(map(len, records)) - 1} | whole]
    for first, last in _bins(record.step for record in flat if record.asked):
        within = [record for record in flat if first <= record.step <= last]
        if any(record.asked for record in within):
            rows.append({"part": "steps", "first_step": first, "last_step": last} | _scores(within, groups))
    return rows


def score_bounds(measures: Container[str]) -> tuple[float, float]:
    """The range of a score, by the names of its measures: the negative error of a number has no lower bound."""
    return (-math.inf, 0.0) if "squared" in measures else (0.0, 1.0)


def _scores(records: Sequence["StepRecord"], groups: Mapping[int, int]) -> Row:
    """Means over predictions; the score over those that could be judged, with its interval over groups, which
    are given by stream."""
    from retrieval_gap.statistics.paired import paired_difference

    asked = [record for record in records if record.asked]
    judged = [(record.value, groups[record.stream]) for record in asked if record.value is not None]
    row: Row = {
        "predictions": len(asked),
        "unreadable": sum(record.predicted is None for record in asked),
        "answers_cut": sum(record.cut for record in asked),
        "score": None,
    }
    if judged:
        values, places = zip(*judged, strict=True)
        low, high = score_bounds(next(record.measures for record in asked if record.value is not None))
        found = paired_difference(values, [0.0] * len(values), places, low=low, high=high)
        row["score"] = found.mean
        if found.interval is not None:
            row |= {"score_low": found.interval.low, "score_high": found.interval.high}
    for name in MEASURES:
        told = [value for record in asked if (value := record.measures.get(name)) is not None]
        row |= {name: fmean(told)} if told else {}
    return row


def _after_wrong(records: Sequence[Sequence["StepRecord"]]) -> Row:
    """How often the prediction after a wrong one is right, against the marginal rate."""
    right: list[bool] = []
    for stream in records:
        judged = [record.right for record in stream if record.asked]
        right += [bool(now) for before, now in pairwise(judged) if before is False]
    return {"after_wrong": len(right)} | ({"right_after_wrong": fmean(right)} if right else {})


def _tokens(records: Sequence["StepRecord"]) -> Row:
    reasons = Counter[str](version.reason for record in records for version in record.versions)
    carried = [record.carried_tokens for record in records if record.asked]
    row: Row = {
        "carried_mean": fmean(carried) if carried else 0.0,
        "carried_most": max(record.carried_tokens for record in records),
        "judge_unreadable": sum(record.judge_unreadable for record in records),
    }
    row |= {f"updates_{reason.replace(' ', '_')}": reasons[reason] for reason in REASONS} if reasons else {}
    return row | {name: sum(getattr(record, name) for record in records) for name in ("calls", "read", "written")}


def _bins(steps: Iterable[int]) -> list[tuple[int, int]]:
    """At most BINS ranges of steps, from the first that is asked to the last."""
    asked = sorted(set(steps))
    parts = [part for part in np.array_split(np.array(asked), min(BINS, len(asked) or 1)) if len(part)]
    return [(int(part[0]), int(part[-1])) for part in parts]
