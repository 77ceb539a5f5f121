"""The cells of one command, and what they would ask."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean

from retrieval_gap.experiments.memories.cell import MemoryCell
from retrieval_gap.machine.errors import UsageError, unknown
from retrieval_gap.text_memory.asking import ToJudge
from retrieval_gap.text_memory.floors import floors_of
from retrieval_gap.text_memory.settings import FLOORS, METHODS


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What is the same in all cells, and the methods and budgets that differ.  floors: run them too."""

    cell: MemoryCell
    methods: Sequence[str]
    budgets: Sequence[int]
    floors: bool = True
    cells: list[MemoryCell] = field(init=False)

    def __post_init__(self) -> None:
        """Raises UsageError for an unknown method, TaskError for a benchmark or data that will not do."""
        for method in self.methods:
            if method not in (*METHODS, *FLOORS):
                raise unknown("method", method, (*METHODS, *FLOORS))
        if not self.methods:
            raise UsageError("--method is empty")
        target = self.cell.build().target(self.cell.target)
        floors = [name for name in floors_of(target) if self.floors]
        cells = [
            replace(self.cell, method=method, settings=replace(self.cell.settings, budget=budget))
            for method in dict.fromkeys((*floors, *self.methods))
            for budget in self.budgets
        ]
        object.__setattr__(self, "cells", list({cell.hash(): cell for cell in cells}.values()))


def print_plan(cells: Sequence[MemoryCell]) -> None:
    """Each cell with its streams and steps, and the first prompt of all; asks nothing."""
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
    """Of a method that asks a model, "" of a floor."""
    from retrieval_gap.llm.wording import prompt_text
    from retrieval_gap.text_memory.asking import Speaker
    from retrieval_gap.text_memory.dialogue import stream_dialogue
    from retrieval_gap.text_memory.tokens import Counter

    if cell.is_floor:
        return ""
    benchmark = cell.build()
    (stream, *_) = cell.chosen_streams(benchmark)
    # Without a tokenizer words are counted: nothing is carried yet.
    speaker = Speaker(
        benchmark, stream, benchmark.target(cell.target), cell.settings, Counter(lambda t: len(t.split()))
    )
    try:
        ask = next(stream_dialogue(speaker, cell.method))
    except StopIteration:
        return ""
    return prompt_text(ask.request if isinstance(ask, ToJudge) else ask)
