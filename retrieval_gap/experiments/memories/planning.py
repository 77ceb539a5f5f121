"""The cells of one command, and a preview of what they ask."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from statistics import fmean

from retrieval_gap.experiments.memories.cell import MemoryCell
from retrieval_gap.text_memory.asking import ToJudge
from retrieval_gap.text_memory.floors import floors_of
from retrieval_gap.text_memory.settings import Feedback, Update


@dataclass(frozen=True, kw_only=True)
class Varied:
    """What differs between the cells of a command: each method, with each of the settings that change it."""

    methods: Sequence[str]
    budgets: Sequence[int]
    feedbacks: Sequence[Feedback]
    updates: Sequence[Update]
    seeds: Sequence[int]


def planned_cells(cell: MemoryCell, varied: Varied, *, floors: bool = True) -> list[MemoryCell]:
    """cell: what is the same in all cells.  floors: also run the floors.

    Raises TaskError for an unknown benchmark or invalid data.
    """
    baselines = floors_of(cell.build().target(cell.target)) if floors else ()
    settings = [
        replace(cell.settings, budget=budget, feedback=feedback, update=update)
        for budget, feedback, update in product(sorted(varied.budgets), varied.feedbacks, varied.updates)
    ]
    # The last cell of a hash is kept: if the budget changes no result, the largest, to hold what is carried.
    cells = [
        replace(cell, method=method, settings=chosen, seed=seed)
        for method in dict.fromkeys((*baselines, *varied.methods))
        for chosen, seed in product(settings, varied.seeds)
    ]
    return list({cell.hash(): cell for cell in cells}.values())


def print_plan(cells: Sequence[MemoryCell]) -> None:
    """Print each cell with its streams and steps, and the first prompt; asks no model."""
    first = ""
    for cell in cells:
        cell.validate()
        benchmark = cell.build()
        streams = cell.chosen_streams(benchmark)
        asked = sum(step.truth is not None for stream in streams for step in stream.steps)
        steps = fmean(len(stream.steps) for stream in streams)
        print(f"{cell.label()}: {len(streams)} streams of {steps:.0f} steps, {asked} predictions")
        first = first or _first_prompt(cell)
    if first:
        print(f"\nThe first prompt:\n{first}")


def _first_prompt(cell: MemoryCell) -> str:
    """The first prompt of a cell; "" for a floor."""
    from retrieval_gap.llm.wording import prompt_text
    from retrieval_gap.text_memory.asking import Speaker
    from retrieval_gap.text_memory.dialogue import stream_dialogue
    from retrieval_gap.text_memory.tokens import Counter

    if cell.is_floor:
        return ""
    benchmark = cell.build()
    (stream, *_) = cell.chosen_streams(benchmark)
    # Words are counted, without a tokenizer: nothing is carried yet.
    speaker = Speaker(
        benchmark, stream, benchmark.target(cell.target), cell.settings, Counter(lambda t: len(t.split()))
    )
    try:
        ask = next(stream_dialogue(speaker, cell.method))
    except StopIteration:
        return ""
    return prompt_text(ask.request if isinstance(ask, ToJudge) else ask)
