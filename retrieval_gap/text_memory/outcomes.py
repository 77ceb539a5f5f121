"""Feedback after a prediction: the truth, a judgement, another step's truth as a control, or nothing."""

from dataclasses import dataclass

import numpy as np

from retrieval_gap.llm.request import Completion
from retrieval_gap.tasks.streams.scores import judge
from retrieval_gap.tasks.streams.stream import Step, Stream, Target, Value
from retrieval_gap.text_memory.answers import shown
from retrieval_gap.text_memory.written_json import read_object

JUDGE_TOKENS = 96


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """text: for the prompt, "" if nothing is known.  truth: the value given as the truth, None without one.  wrong:
    whether the prediction was wrong, None if unknown, as for a predicted number beside its truth."""

    text: str = ""
    truth: Value | None = None
    wrong: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Past:
    """A past step, what was predicted, and its outcome."""

    step: Step
    predicted: Value | None
    outcome: Outcome

    def line(self) -> str:
        """Input and outcome on one line, as the methods that keep raw steps show them."""
        given = ", ".join(f"{name} {value}" for name, value in self.step.input.items())
        if self.outcome.truth is not None:
            return f"{given} -> {shown(self.outcome.truth)}"
        return f"{given} -> {' '.join(self.outcome.text.split())}" if self.outcome.text else given


def outcome_of(target: Target, predicted: Value | None, truth: Value) -> Outcome:
    """The outcome for a truth, with how the prediction compares."""
    text = f"Outcome: {shown(truth)}."
    right = judge(target, predicted, truth).right
    if predicted is None:
        return Outcome(text=text, truth=truth, wrong=True)
    if isinstance(predicted, float | int) and isinstance(truth, float | int):
        return Outcome(text=f"{text} The prediction was off by {predicted - truth:+.2f}.", truth=truth)
    verdict = "right" if right else "wrong"
    return Outcome(text=f"{text} The prediction was {verdict}.", truth=truth, wrong=not right)


def shuffled_truths(stream: Stream, target: Target, seed: int) -> dict[int, Value]:
    """By step number, the truth of an earlier step drawn at random, for each step but the first: a control that gives
    as much feedback, but none about the step itself."""
    asked = [step for step in stream.steps if step.truth is not None]
    rng = np.random.default_rng([seed, stream.number])
    return {
        step.number: _truth(asked[int(rng.integers(place))], target) for place, step in enumerate(asked) if place > 0
    }


def judged(completion: Completion) -> Outcome | None:
    """The outcome in a judge's reply, None unless it is a JSON object with a true or false `right`."""
    value = read_object(completion.text)
    if value is None or not isinstance(value.get("right"), bool):
        return None
    verdict = "right" if value["right"] else "wrong"
    advice = value.get("advice")
    said = f" {' '.join(advice.split())}" if isinstance(advice, str) and advice.strip() else ""
    return Outcome(text=f"A judge finds the prediction {verdict}.{said}", wrong=not value["right"])


def _truth(step: Step, target: Target) -> Value:
    assert step.truth is not None, "only steps with a truth are asked"
    return step.truth[target.name]
