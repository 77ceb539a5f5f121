"""What `retrieval-gap memory stream` prints: the steps of streams, as text or as JSON lines."""

import json
import sys
from collections.abc import Iterator
from typing import Any, Literal

from retrieval_gap.tasks.streams.stream import Benchmark, Step


def stream_records(benchmark: Benchmark, first: int, count: int) -> Iterator[dict[str, Any]]:
    """One object per step: benchmark, stream, name, step, time, input, truth (an object by target; null if nothing is
    asked), known_after.  Raises TaskError if the data have no stream `first`."""
    available = benchmark.available
    last = first + count if available is None else max(min(first + count, available), first + 1)
    for number in range(first, last if count else first):
        stream = benchmark.stream(number)
        for step in stream.steps:
            yield {"benchmark": benchmark.name, "stream": number, "name": stream.name} | _record(step)


def print_streams(benchmark: Benchmark, first: int, count: int, form: Literal["text", "jsonl"]) -> None:
    """Print streams; `text`: a line per step; `jsonl`: one object per line.  Standard error lists what was left out."""
    for line in benchmark.left_out:
        print(line, file=sys.stderr)
    printed = -1
    for record in stream_records(benchmark, first, count):
        if form == "jsonl":
            print(json.dumps(record, ensure_ascii=False))
            continue
        if record["stream"] != printed:
            printed = record["stream"]
            print(f"stream {printed}: {record['name']}")
        given = ", ".join(f"{name} {value}" for name, value in record["input"].items())
        print(f"  {record['step']:>4}  {given}{_outcome(record)}")


def _record(step: Step) -> dict[str, Any]:
    return {
        "step": step.number,
        "time": step.time,
        "input": dict(step.input),
        "truth": None if step.truth is None else dict(step.truth),
        "known_after": step.known_after,
    }


def _outcome(record: dict[str, Any]) -> str:
    if record["truth"] is None:
        return ""
    told = ", ".join(f"{name} {_shown(value)}" for name, value in record["truth"].items())
    return f"  ->  {told} (known after {record['known_after']})"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "; ".join(value) if isinstance(value, tuple) else str(value)
