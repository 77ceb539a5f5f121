"""Presets of text memories: recall against the budget, and tomorrow's weather, with a small model on the CPU.

The model is SmolLM2-135M-Instruct, which `make memory-demo` fetches.  It reads fast and writes slowly.  Its results
are no evidence for or against learning through text: these grids show that the code works with a real model, and how
far that model can read.  The weather file is looked for in the folder RETRIEVAL_GAP_DATA, else in `data`; if it is
missing, the drawn stream `drift` replaces it.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from retrieval_gap.experiments.memories.cell import MemoryCell
from retrieval_gap.llm.config import LLMConfig, LocalConfig
from retrieval_gap.llm.packaged import models_folder
from retrieval_gap.text_memory.settings import Feedback, Settings, Update

MODEL = "SmolLM2-135M-Instruct"
WEATHER = "weather/seattle_newyork_daily.csv"
# Answers are chosen by likelihood: a model of this size writes few readable ones.
SETTINGS = Settings(answer="score")
UPDATES: tuple[Update, ...] = ("rewrite", "edits")
FLOORS = ("majority", "as_before", "transitions")
WEATHER_METHODS = (
    "zero_shot", "last_k", "full_history", "memprompt", "memprompt_summary", "episodes", "no_update", "oracle_memory",
    "llm_as_rnn",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Size:
    """budgets: of recall, for memories that the model only reads; written: for those that it writes."""

    facts: int
    streams: int
    budgets: Sequence[int]
    written: Sequence[int]
    weather_streams: int
    weather_steps: int
    weather_budget: int


DEMO = _Size(
    facts=4, streams=4, budgets=(4, 8, 16, 32, 64), written=(32,), weather_streams=3, weather_steps=8, weather_budget=64
)
CPU = _Size(
    facts=8,
    streams=10,
    budgets=(4, 8, 16, 32, 48, 64, 128),
    written=(64,),
    weather_streams=4,
    weather_steps=10,
    weather_budget=96,
)


def memory_demo() -> list[MemoryCell]:
    """Ten minutes on two cores: 4 facts in 4 streams, 8 days of weather in 3.

    Not every method runs on both: recall has no last_k, full_history, memprompt and memprompt_summary, weather no
    search and no edits.
    """
    return list(_grid(DEMO))


def memory_cpu() -> list[MemoryCell]:
    """An hour or two: 8 facts in 10 streams, 10 days in 4, more budgets, llm_as_rnn with each feedback and a gate."""
    cells = list(_grid(CPU))
    loop = next(cell for cell in cells if cell.benchmark != "recall" and cell.method == "llm_as_rnn")
    told: tuple[Feedback, ...] = ("shuffled", "judge", "none")
    cells += [replace(loop, settings=replace(loop.settings, feedback=feedback)) for feedback in told]
    return [*cells, replace(loop, settings=replace(loop.settings, gate=3))]


PRESETS = {"memory_demo": memory_demo, "memory_cpu": memory_cpu}


def _grid(size: _Size) -> Iterator[MemoryCell]:
    recall = _cell("recall", streams=size.streams, steps=0, options=f"facts={size.facts} values=8")
    for method in ("majority", "zero_shot", "no_update"):
        yield replace(recall, method=method)
    for method in ("oracle_memory", "episodes", "search"):
        for budget in size.budgets:
            yield replace(recall, method=method, settings=replace(SETTINGS, budget=budget))
    for budget in size.written:
        for update in UPDATES:
            yield replace(recall, method="llm_as_rnn", settings=replace(SETTINGS, budget=budget, update=update))
    file = Path(os.environ.get("RETRIEVAL_GAP_DATA") or "data") / WEATHER
    series = _cell("drift", streams=size.weather_streams, steps=size.weather_steps)
    if file.is_file():
        series = replace(series, benchmark="weather", data=str(file))
    for floor in FLOORS:
        yield replace(series, method=floor)
    for method in WEATHER_METHODS:
        yield replace(series, method=method, settings=replace(SETTINGS, budget=size.weather_budget))


def _cell(benchmark: str, *, streams: int, steps: int, options: str = "") -> MemoryCell:
    return MemoryCell(
        benchmark=benchmark,
        method="zero_shot",
        options=options,
        streams=streams,
        steps=steps,
        settings=SETTINGS,
        model=LLMConfig(model=str(models_folder() / MODEL), api="chat"),
        local=LocalConfig(precision="bf16", device="cpu"),
    )
