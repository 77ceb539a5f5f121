"""The settings of a method: one frozen object, passed on whole."""

from dataclasses import dataclass
from typing import Literal, get_args

from retrieval_gap.machine.errors import UsageError
from retrieval_gap.machine.field_kinds import check_fields

MethodName = Literal[
    "zero_shot", "last_k", "full_history", "memprompt", "memprompt_summary", "episodes", "search", "llm_as_rnn",
    "no_update", "oracle_memory",
]  # fmt: skip
FloorName = Literal["majority", "as_before", "no_change", "transitions"]
Feedback = Literal["truth", "judge", "shuffled", "none"]
AnswerForm = Literal["json", "score", "calibrated", "grammar"]
Update = Literal["rewrite", "edits"]
METHODS: tuple[str, ...] = get_args(MethodName)
FLOORS: tuple[str, ...] = get_args(FloorName)
LARGEST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings for every step of every stream.

    budget: tokens that a method may carry from step to step.  answer: written as JSON, chosen by likelihood (calibrated
    or not), or JSON held to a schema.  update: whether llm_as_rnn rewrites the whole text or edits items of it.  gate:
    0 keeps every new memory; g keeps it only if it does not lower the score on the last g steps.  k: most steps that
    last_k, memprompt, episodes and search show.  draw: distinguishes repetitions at a temperature above 0.  thinking:
    tokens added to the limit of a reply, for models that think before they answer; the thinking is not part of the
    reply.
    """

    budget: int = 256
    feedback: Feedback = "truth"
    answer: AnswerForm = "json"
    update: Update = "rewrite"
    gate: int = 0
    k: int = 5
    temperature: float = 0.0
    draw: int = 0
    thinking: int = 0

    def __post_init__(self) -> None:
        check_fields(self)
        for name, least in (("budget", 1), ("gate", 0), ("k", 1), ("draw", 0), ("thinking", 0)):
            if not least <= getattr(self, name) <= LARGEST:
                raise UsageError(f"--{name} {getattr(self, name)} is out of range: expected {least} to {LARGEST}")
        if not 0 <= self.temperature <= 100:
            raise UsageError(f"--temperature {self.temperature} is out of range: expected 0 to 100")
