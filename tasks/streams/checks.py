"""Checks streams before anything is asked: a user's benchmark is checked like data."""

from collections.abc import Sequence

from ..api import TaskError
from ..file_kinds import HALF_A_CHARACTER, holds_half_a_character
from .overlap import first_with_the_steps
from .scores import LARGEST_NUMBER
from .stream import Benchmark, Step, Stream, Target, Value, not_after


def check_streams(benchmark: Benchmark, streams: Sequence[Stream], target: Target) -> None:
    """streams: from number 0 on.

    Raises TaskError, naming benchmark, stream and step, for streams that no method could use, for a truth that lacks
    the target or is not a value of it, for a stream that repeats another's steps, and if no step of any stream asks for
    anything.
    """
    if not streams:
        raise TaskError(f"{benchmark.name} has no streams with these data")
    for number, stream in enumerate(streams):
        if not isinstance(stream, Stream):
            raise TaskError(f"{benchmark.name}: stream({number}) gave {stream!r:.60}, which is no Stream")
        where = f"{benchmark.name}: stream {number} ({stream.name})"
        if stream.number != number:
            raise TaskError(f"{where} calls itself stream {stream.number}")
        if len(stream.steps) < 2:
            raise TaskError(f"{where} has {_counted(len(stream.steps))}; to learn from an outcome takes 2 or more")
        for place, step in enumerate(stream.steps):
            trouble = _trouble(step, place, stream, target)
            if trouble:
                raise TaskError(f"{where}, step {place}: {trouble}")
    if all(step.truth is None for stream in streams for step in stream.steps):
        raise TaskError(f"{benchmark.name}: no step has a truth, so nothing is asked")
    steps = [[(step.time, step.text()) for step in stream.steps] for stream in streams]
    for number, first in enumerate(first_with_the_steps(steps, drawn=benchmark.config.data is None)):
        if first != number:
            told = "each has to be another; take fewer streams, or fewer steps of each, or another seed"
            same = f"streams {first} and {number} are the same ({streams[first].name})"
            raise TaskError(f"{benchmark.name}: {same}; {told}")


def check_drawn_again(benchmark: Benchmark, first: Stream) -> None:
    """Raises TaskError if stream 0 is not the same when it is drawn again."""
    if benchmark.stream(0) != first:
        told = "all randomness of a stream comes from `self.rng(number)`"
        raise TaskError(f"{benchmark.name}: stream 0 differs when it is drawn again; {told}")


def _trouble(step: Step, place: int, stream: Stream, target: Target) -> str:
    """What is wrong with a step, "" for nothing."""
    if step.number != place:
        return f"its number is {step.number}; steps are numbered from 0"
    if type(step.time) is not type(stream.steps[0].time):
        return f"its time {step.time!r} and the first step's {stream.steps[0].time!r} are of two kinds"
    if place and not not_after(stream.steps[place - 1].time, step.time):
        return f"its time {step.time!r} lies before the last step's, {stream.steps[place - 1].time!r}"
    if step.truth is not None and target.name not in step.truth:
        return f"its truth lacks the target {target.name!r} (it has {', '.join(step.truth) or 'none'})"
    for what, values in (("truth", step.truth), ("present value", step.now)):
        if values and target.name in values and not _is_value(target, values[target.name]):
            return f"its {what} {values[target.name]!r:.60} is not {_wanted(target)}"
    half = next((text for text in (step.text(), step.lead, *_texts(step, target)) if holds_half_a_character(text)), "")
    return f"{half!a:.60} {HALF_A_CHARACTER}" if half else ""


def _texts(step: Step, target: Target) -> list[str]:
    """The texts in a step's truth and present value."""
    values = [each[target.name] for each in (step.truth, step.now) if each and target.name in each]
    return [text for value in values if not isinstance(value, float | int) for text in _parts(value)]


def _parts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else value


def _is_value(target: Target, value: Value) -> bool:
    if target.kind == "number":
        return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER
    if target.kind == "ranked":
        return isinstance(value, tuple) and all(isinstance(code, str) for code in value)
    return isinstance(value, str) and (target.kind == "text" or value in target.options)


def _wanted(target: Target) -> str:
    if target.kind == "choice":
        return f"an option of {target.name!r} ({', '.join(target.options) or 'it has none'})"
    return {"number": "a finite number", "ranked": "a tuple of texts", "text": "a text"}[target.kind]


def _counted(steps: int) -> str:
    return {0: "no steps", 1: "one step"}.get(steps, f"{steps} steps")
