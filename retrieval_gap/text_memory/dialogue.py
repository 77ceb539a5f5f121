"""Run one stream from its first step to its last: predict, wait until the outcome is known, learn from it."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from retrieval_gap.llm.request import Request
from retrieval_gap.tasks.streams.scores import judge
from retrieval_gap.tasks.streams.stream import Step, Stream, Value, known_by
from retrieval_gap.text_memory import prompts
from retrieval_gap.text_memory.answers import shown
from retrieval_gap.text_memory.asking import Prediction, Speaker, Talk, Usage
from retrieval_gap.text_memory.memory import Version
from retrieval_gap.text_memory.methods import METHOD_CLASSES, Method
from retrieval_gap.text_memory.outcomes import JUDGE_TOKENS, Outcome, Past, judged, outcome_of, shuffled_truths

Number = float | None


@dataclass
class StepRecord:
    """What happened at a step, one line of the log.

    carried, carried_tokens: the method's text and its length.  predicted: None if nothing was asked, or the reply could
    not be parsed.  value, measures, right: its judgement, None where there is none.  feedback: given later; versions:
    of the memory, as a result.  calls, read, written: requests and tokens, of both.
    """

    stream: int
    step: int
    time: str | int
    input: str
    asked: bool
    carried: str = ""
    carried_tokens: int = 0
    truth: Value | None = None
    predicted: Value | None = None
    reply: str = ""
    cut: bool = False
    value: Number = None
    right: bool | None = None
    measures: Mapping[str, Number] = field(default_factory=dict)
    feedback: str = ""
    judge_unreadable: bool = False
    versions: list[Version] = field(default_factory=list)
    calls: int = 0
    read: int = 0
    written: int = 0

    @classmethod
    def of(cls, stream: Stream, now: Step) -> "StepRecord":
        """The record of a step before anything was carried or asked."""
        return cls(stream=stream.number, step=now.number, time=now.time, input=now.text(), asked=now.truth is not None)

    def take(self, usage: Usage) -> None:
        self.calls += usage.calls
        self.read += usage.read
        self.written += usage.written

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def stream_dialogue(speaker: Speaker, method_name: str) -> Talk[list[StepRecord]]:
    """Run a method on a stream; return all records.  Raises RunError for a prompt that does not fit into the
    context."""
    stream, target = speaker.stream, speaker.target
    method = METHOD_CLASSES[method_name](speaker)
    told = _Told(speaker)
    records: list[StepRecord] = []
    waiting: list[StepRecord] = []
    for now in stream.steps:
        for record in [each for each in waiting if _due(stream.steps[each.step], now)]:
            waiting.remove(record)
            yield from _learn(speaker, method, told, record)
        record = StepRecord.of(stream, now)
        record.carried = method.carried(now)
        record.carried_tokens = speaker.count(record.carried)
        if now.truth is not None:
            prediction = yield from speaker.predict(record.carried, now)
            set_prediction(record, speaker, prediction, now.truth[target.name])
        record.take(speaker.take_usage())
        speaker.done += 1
        records.append(record)
        waiting.append(record)
    return records


def set_prediction(record: StepRecord, speaker: Speaker, prediction: Prediction, truth: Value) -> None:
    """Write a prediction and its judgement into a record."""
    found = judge(speaker.target, prediction.value, truth)
    record.truth, record.predicted = truth, prediction.value
    record.reply, record.cut = prediction.reply, prediction.cut
    record.value, record.right = _finite(found.value), found.right
    record.measures = {name: _finite(value) for name, value in found.measures.items()}


def _due(step: Step, now: Step) -> bool:
    """A step that asks nothing is due at the next step; another when its truth is known, whatever the feedback: all
    kinds of feedback come at the same time."""
    return step.number < now.number if step.truth is None else known_by(step, now)


def _learn(speaker: Speaker, method: Method, told: "_Told", record: StepRecord) -> Talk[None]:
    step = speaker.stream.steps[record.step]
    outcome = yield from told.outcome(step, record)
    record.feedback = outcome.text
    record.versions += yield from method.learn(Past(step=step, predicted=record.predicted, outcome=outcome))
    record.take(speaker.take_usage())


class _Told:
    """The feedback on the steps of one stream."""

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        feedback, settings = speaker.settings.feedback, speaker.settings
        self._truths = shuffled_truths(speaker.stream, speaker.target, settings.draw) if feedback == "shuffled" else {}

    def outcome(self, step: Step, record: StepRecord) -> Talk[Outcome]:
        target, feedback = self._speaker.target, self._speaker.settings.feedback
        if step.truth is None or feedback == "none":
            return Outcome()
        if feedback == "judge":
            return (yield from self._judged(step, record))
        truth = step.truth[target.name] if feedback == "truth" else self._truths.get(step.number)
        return Outcome() if truth is None else outcome_of(target, record.predicted, truth)

    def _judged(self, step: Step, record: StepRecord) -> Talk[Outcome]:
        """The feedback of a judge, who sees the method's text and the prediction, not the truth.  A judgement that
        cannot be parsed is counted, and gives no feedback."""
        speaker = self._speaker
        block = f"{prompts.NOTES}\n{record.carried}" if record.carried else ""
        told = prompts.told(step, shown(record.predicted), "")
        completion = yield from speaker.write(
            Request(
                system=prompts.JUDGE,
                prompt=prompts.judgement(speaker.target, block, told),
                max_tokens=JUDGE_TOKENS,
                temperature=speaker.settings.temperature,
                draw=speaker.settings.draw,
            ),
            to_judge=True,
        )
        outcome = judged(completion)
        record.judge_unreadable = outcome is None
        return outcome or Outcome()


def _finite(value: float) -> Number:
    return value if math.isfinite(value) else None
