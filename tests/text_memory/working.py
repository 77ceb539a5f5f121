"""Runs a method over streams with a model of the tests, in a few milliseconds."""

from pathlib import Path

from retrieval_gap.llm.cache import Cache
from retrieval_gap.llm.client import Client
from retrieval_gap.llm.request import LLMBackend
from retrieval_gap.tasks.streams.stream import Benchmark, StreamConfig, load_benchmark
from retrieval_gap.text_memory.asking import Speaker
from retrieval_gap.text_memory.dialogue import StepRecord, stream_dialogue
from retrieval_gap.text_memory.lockstep import run_in_lockstep
from retrieval_gap.text_memory.scripted import ScriptedBackend
from retrieval_gap.text_memory.settings import Settings
from retrieval_gap.text_memory.tokens import Counter


def drawn(name: str, options: str = "", steps: int = 0, seed: int = 0) -> Benchmark:
    return load_benchmark(name)(StreamConfig(options=options, steps=steps, seed=seed))


def worked_through(
    folder: Path,
    benchmark: Benchmark,
    method: str,
    backend: LLMBackend,
    settings: Settings,
    streams: int = 4,
    judge: LLMBackend | None = None,
) -> list[StepRecord]:
    """The records of all streams, one after the other."""
    cache = Cache(folder / "replies.sqlite")
    try:
        client = Client(backend, cache)
        other = Client(judge, cache) if judge else client
        count, target = Counter(backend.count_tokens), benchmark.target("")
        talks = [
            stream_dialogue(Speaker(benchmark, benchmark.stream(i), target, settings, count), method)
            for i in range(streams)
        ]
        found = run_in_lockstep(talks, client, other, what="", after_round=lambda ended: None)
    finally:
        cache.close()
    return [record for stream in found for record in stream]


def share_right(records: list[StepRecord]) -> float:
    asked = [record for record in records if record.asked]
    return sum(bool(record.right) for record in asked) / len(asked)


def scripted(name: str) -> ScriptedBackend:
    return ScriptedBackend(name)
