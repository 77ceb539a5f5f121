"""Facts given one per step, some corrected later, then asked for: only what the memory holds can be answered.

A step is `Anna has a cat.`; later perhaps `Anna has a dog.`, and from then on only that counts.  After the facts each
key that is asked for is asked once, and the truths are known when the stream is over: no answer helps another.

The keys are the same in every stream, in another order; each value is uniform and independent of all else.  So the
last values of n facts are uniform over v**n cases, and a memory of b bits before the questions is bounded by the
ceiling for n independent symbols (`retrieval_gap.theory.best_cells.independent_scores`).
Example, facts=2 values=2 corrections=1: Anna has a cat. / Ben has a dog. / Anna has a dog. / Which animal does Ben
have? dog / Which animal does Anna have? dog.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..api import TaskError, TaskOptions, check_option
from .stream import Benchmark, Step, Stream, StreamConfig, Target

NAMES = tuple(
    "Anna Ben Clara David Emma Felix Grace Henry Iris Jack Kate Leo Mary Noah Olga Paul Quinn Rosa Sam Tina Uma Victor "
    "Wendy Xavier Yara Zoe Adam Bella Carl Diana Eric Fiona".split()
)
VALUES = tuple(
    "cat dog horse cow sheep goat pig duck fox wolf bear lion mouse frog snake bird fish crab whale seal deer camel "
    "eagle hen bee ant bat rat owl swan toad moth".split()
)
MOST_FACTS = 100_000


@dataclass(frozen=True, kw_only=True)
class RecallStreamOptions(TaskOptions):
    """facts: number of keys.  values: number of values.  corrections: facts given again, with a value drawn anew.
    questions: keys that are asked for, 0 for all."""

    facts: int = 8
    values: int = 8
    corrections: int = 0
    questions: int = 0


class Recall(Benchmark):
    """The targets' options are the values; a stream has facts + corrections + questions steps, or the first `steps`
    of them."""

    name = "recall"
    options_type = RecallStreamOptions
    options: RecallStreamOptions

    def __init__(self, config: StreamConfig) -> None:
        super().__init__(config)
        told = self.options
        check_option(self.name, "facts", told.facts, 1, MOST_FACTS)
        check_option(self.name, "values", told.values, 2, len(VALUES))
        check_option(self.name, "corrections", told.corrections, 0, told.facts)
        check_option(self.name, "questions", told.questions, 0, told.facts)
        self.asked = told.questions or told.facts
        self.told = told.facts + told.corrections
        if config.steps:
            self.asked = min(self.asked, config.steps - self.told)
        if self.asked < 1:
            raise TaskError(
                f"recall: --steps {config.steps} leaves no question behind {self.told} facts and corrections; "
                "raise it, or set it to 0"
            )
        question = "Which animal does this person have? Use the last one that was told."
        self.targets = (Target(name="value", kind="choice", question=question, options=VALUES[: told.values]),)

    @property
    def bits_needed(self) -> float:
        """Entropy of the answers to all questions: a memory with fewer bits cannot answer all of them."""
        return self.options.facts * math.log2(self.options.values)

    def stream(self, number: int) -> Stream:
        options, rng = self.options, self.rng(number)
        told = [(int(key), int(rng.integers(options.values))) for key in rng.permutation(options.facts)]
        for key in rng.permutation(options.facts)[: options.corrections]:
            told.append((int(key), int(rng.integers(options.values))))
        last = dict(told)
        asked = [int(key) for key in rng.permutation(options.facts)[: self.asked]]
        end = len(told) + len(asked)
        facts = [
            Step(
                number=t,
                time=t,
                input={"fact": f"{_name(key)} has a {VALUES[value]}."},
                truth=None,
                known_after=None,
                now={},
            )
            for t, (key, value) in enumerate(told)
        ]
        questions = [
            Step(
                number=len(told) + t,
                time=len(told) + t,
                input={"question": f"Which animal does {_name(key)} have?"},
                lead=f"{_name(key)} has a",
                truth={"value": VALUES[last[key]]},
                known_after=end,
                now={},
            )
            for t, key in enumerate(asked)
        ]
        return Stream(number=number, name=f"draw {number}", steps=(*facts, *questions))

    def oracle_notes(self, past: Sequence[Step], target: Target) -> list[str]:
        """The current facts, the latest first."""
        facts: dict[str, str] = {}
        for step in past:
            if "fact" in step.input:
                key = step.input["fact"].partition(" ")[0]
                facts.pop(key, None)
                facts[key] = step.input["fact"]
        return list(reversed(facts.values()))


def _name(key: int) -> str:
    """Anna, Ben, ..., then Anna2, Ben2, ..."""
    again, place = divmod(key, len(NAMES))
    return NAMES[place] + (str(again + 1) if again else "")


BENCHMARK = Recall
