"""Floors: predictions without a language model, from a stream's own past, which every method has to beat."""

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean

from retrieval_gap.tasks.streams.scores import TOP
from retrieval_gap.tasks.streams.stream import Benchmark, Step, Stream, Target, Value, known_by
from retrieval_gap.text_memory.asking import Prediction, Speaker
from retrieval_gap.text_memory.dialogue import StepRecord, set_prediction
from retrieval_gap.text_memory.settings import Settings
from retrieval_gap.text_memory.tokens import Counter as TokenCounter

Floor = Callable[[Target, Sequence[Step], Step], Value]


def floor_records(name: str, benchmark: Benchmark, stream: Stream, target: Target) -> list[StepRecord]:
    """The records of a floor on a stream, as `dialogue` makes them."""
    speaker = Speaker(benchmark, stream, target, Settings(), TokenCounter(len))
    records = []
    for now in stream.steps:
        record = StepRecord.of(stream, now)
        if now.truth is not None:
            known = [step for step in stream.steps[: now.number] if known_by(step, now)]
            predicted = _FLOORS[name](target, known, now)
            set_prediction(record, speaker, Prediction(value=predicted), now.truth[target.name])
        records.append(record)
    return records


def floors_of(target: Target) -> list[str]:
    """The floors that apply to a target."""
    if target.kind == "number":
        return ["majority", "as_before", "no_change"]
    return ["majority", "as_before", *(["transitions"] if target.kind in ("choice", "text") else [])]


def _majority(target: Target, known: Sequence[Step], now: Step) -> Value:
    """The most common truth so far, of equals the latest; for numbers the mean; for codes the most common five."""
    truths = _truths(target, known)
    if not truths:
        return _guess(target, now)
    if target.kind == "number":
        return fmean(float(str(truth)) for truth in truths)
    if target.kind == "ranked":
        codes = [code for truth in reversed(truths) if isinstance(truth, tuple) for code in truth]
        return tuple(code for code, _ in Counter(codes).most_common(TOP))
    return Counter(reversed(truths)).most_common(1)[0][0]


def _as_before(target: Target, known: Sequence[Step], now: Step) -> Value:
    """The last known truth; the input's own value of the target, unless that is a number."""
    if target.kind != "number" and target.name in now.now:
        return now.now[target.name]
    return _truths(target, known)[-1] if known else _guess(target, now)


def _no_change(target: Target, known: Sequence[Step], now: Step) -> Value:
    return _guess(target, now)


def _transitions(target: Target, known: Sequence[Step], now: Step) -> Value:
    """The most common truth after the present value (or input, if that has no value); without one, as before."""
    after = [step for step in known if _key(target, step) == _key(target, now)]
    return _majority(target, after, now) if after else _as_before(target, known, now)


_FLOORS: dict[str, Floor] = {
    "majority": _majority,
    "as_before": _as_before,
    "no_change": _no_change,
    "transitions": _transitions,
}


def _guess(target: Target, now: Step) -> Value:
    """Without a past: the present value, else 0, no codes, or the first allowed answer."""
    if target.name in now.now:
        return now.now[target.name]
    if target.kind == "number":
        return 0.0
    return () if target.kind == "ranked" else (target.options or ("",))[0]


def _truths(target: Target, known: Sequence[Step]) -> list[Value]:
    return [step.truth[target.name] for step in known if step.truth is not None]


def _key(target: Target, step: Step) -> Value:
    return step.now.get(target.name, step.text())
