"""Pools runs that differ only in their seed: other starts of the streams, or other orders of what is drawn."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import stdev
from typing import Any

from retrieval_gap.experiments.memories.finished import Finished, cell_columns, summed_anew
from retrieval_gap.tasks.streams.overlap import first_with_the_steps


def pooled_over_seeds(found: Sequence[Finished]) -> list[Finished]:
    """For runs of several seeds, one more run with all their streams; its `seed` lists theirs, such as "0 1 2".  A
    stream that is in several of them, such as a whole series, counts once.

    score_sd: the standard deviation of the seeds' scores, if two or more have streams that no earlier one has.
    """
    groups: dict[str, list[Finished]] = defaultdict(list)
    for run in found:
        groups[repr((run.streams[:-1], run.asked, run.cell.method, run.cell.relevant(), run.cell.judge))].append(run)
    return [_pooled(sorted(runs, key=lambda run: run.cell.seed)) for runs in groups.values() if len(runs) > 1]


def _pooled(runs: Sequence[Finished]) -> Finished:
    kept = _new_streams(runs)
    streams = [[dict(step) | {"stream": number} for step in steps] for number, (_, steps) in enumerate(kept)]
    same = {name: value for name, value in cell_columns(runs[0].whole).items()
            if all(run.whole.get(name) == value for run in runs)}  # fmt: skip
    same |= {"streams": len(kept), "wall_s": sum(run.whole["wall_s"] for run in runs)}
    same |= {"seed": " ".join(str(run.cell.seed) for run in runs), "config_hash": ""}
    log = [step for steps in streams for step in steps]
    rows = summed_anew(same, log, drawn=not runs[0].cell.data)
    scores = [runs[place].whole["score"] for place in dict.fromkeys(place for place, _ in kept)]
    rows[0] |= {} if None in scores or len(scores) < 2 else {"score_sd": stdev(scores)}
    return Finished(runs[0].cell, rows, {(step["stream"], step["step"]): step for step in log}, runs[0].code)


def _new_streams(runs: Sequence[Finished]) -> list[tuple[int, list[Mapping[str, Any]]]]:
    """The streams that do not repeat an earlier one, each with the place of its run."""
    every = [(place, steps) for place, run in enumerate(runs) for steps in run.by_stream.values()]
    inputs = [steps for run in runs for steps in run.inputs]
    first = first_with_the_steps(inputs, drawn=not runs[0].cell.data)
    return [each for number, each in enumerate(every) if first[number] == number]
