"""A hidden rule from cues to labels, which changes at known steps: how fast does a memory follow?

Every `period` steps a new rule is drawn; within a period every label is the rule's.  Cues are uniform.
Example, cues=2 labels=2 period=3: red -> left, blue -> right for steps 0 to 2; then a new rule for steps 3 to 5.
The limit: no reader can know the label of a cue that has not come up since the last change.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..api import TaskOptions, check_option
from .stream import Benchmark, Step, Stream, StreamConfig, Target

CUES = tuple("red blue green yellow black white brown grey pink orange purple silver".split())
LABELS = tuple("left right up down north south east west".split())
DEFAULT_STEPS = 100


@dataclass(frozen=True, kw_only=True)
class DriftOptions(TaskOptions):
    """period: steps per rule."""

    cues: int = 4
    labels: int = 2
    period: int = 25


class Drift(Benchmark):
    """Input: the colour.  A truth is known before the next step."""

    name = "drift"
    options_type = DriftOptions
    options: DriftOptions

    def __init__(self, config: StreamConfig) -> None:
        super().__init__(config)
        check_option(self.name, "cues", self.options.cues, 1, len(CUES))
        check_option(self.name, "labels", self.options.labels, 2, len(LABELS))
        check_option(self.name, "period", self.options.period, 1, 10**9)
        options = LABELS[: self.options.labels]
        question = "Where does the light of this colour point? The rule is hidden, and may change."
        self.targets = (Target(name="label", kind="choice", question=question, options=options),)

    def stream(self, number: int) -> Stream:
        """A stream of `steps` steps, DEFAULT_STEPS if that is 0: a drawn stream has no end of its own."""
        rng, options, steps = self.rng(number), self.options, []
        rule: list[int] = []
        for t in range(self.config.steps or DEFAULT_STEPS):
            if t % options.period == 0:
                rule = rng.integers(options.labels, size=options.cues).tolist()
            cue = int(rng.integers(options.cues))
            steps.append(
                Step(
                    number=t,
                    time=t,
                    input={"colour": CUES[cue]},
                    truth={"label": LABELS[rule[cue]]},
                    known_after=t + 1,
                    now={},
                )
            )
        return Stream(number=number, name=f"draw {number}", steps=tuple(steps))

    def oracle_notes(self, past: Sequence[Step], target: Target) -> list[str]:
        """The rule as seen so far; a label that contradicts it discards everything seen before."""
        rule: dict[str, str] = {}
        for step in past:
            if step.truth is None:
                continue
            cue, label = step.input["colour"], str(step.truth[target.name])
            if rule.get(cue, label) != label:
                rule = {}
            rule[cue] = label
        return [f"{cue}: {label}" for cue, label in rule.items()]


BENCHMARK = Drift
