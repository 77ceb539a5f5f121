"""Requests to a language model and its replies, the same for every backend."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from retrieval_gap.machine.errors import UsageError

Api = Literal["completions", "chat"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Text to continue, up to the first of `stop` or `max_tokens` tokens.

    system: text before the prompt, as the system turn if the model has one.
    written: the answer so far, with what searches found; the model continues it.
    temperature: 0 is greedy.  draw: distinguishes samples of one request.
    schema: JSON Schema, as text, that the answer has to satisfy.  grammar: the same as a grammar (GBNF).  Only some
    servers take these (`ServerConfig.structured`).

    Raises UsageError for text that cannot be sent, and for numbers out of range.
    """

    prompt: str
    system: str = ""
    written: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int
    temperature: float = 0.0
    draw: int = 0
    schema: str = ""
    grammar: str = ""

    def __post_init__(self) -> None:
        _check_text(self.prompt, self.system, self.written, *self.stop)
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise UsageError(f"temperature {self.temperature} is out of range: expected 0 or more")
        if self.max_tokens < 1 or self.draw < 0:
            raise UsageError(f"max_tokens {self.max_tokens}, draw {self.draw}: expected at least 1 and 0")
        if self.schema and self.grammar:
            raise UsageError("a request has a JSON schema or a grammar, not both")


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """Asks for the likelihood of each of `answers` as the continuation; the other fields as in `Request`.

    Raises UsageError for answers that are empty or equal.
    """

    prompt: str
    answers: tuple[str, ...]
    system: str = ""
    written: str = ""

    def __post_init__(self) -> None:
        _check_text(self.prompt, self.system, self.written, *self.answers)
        if not self.answers or "" in self.answers or len(set(self.answers)) < len(self.answers):
            raise UsageError(f"answers to be scored are empty or alike: {list(self.answers)!r:.80}")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The text before the stop sequence.

    finished: False if it was cut at `max_tokens`.  prompt_tokens, completion_tokens: as the model counts; 0 if a server
    does not report them.
    """

    text: str
    finished: bool
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, kw_only=True)
class AnswerScores:
    """log_likelihoods: of each answer after the prompt, in nats, summed over its tokens.  answer_tokens: their number.
    prompt_tokens: that the model read, for all answers together."""

    log_likelihoods: tuple[float, ...]
    answer_tokens: tuple[int, ...]
    prompt_tokens: int = 0

    @property
    def best(self) -> int:
        """Index of the likeliest answer; of equal ones the first."""
        return max(range(len(self.log_likelihoods)), key=lambda place: self.log_likelihoods[place])

    def calibrated(self, without: "AnswerScores") -> "AnswerScores":
        """These minus those of the same answers after a prompt without content.

        Source: contextual calibration, "Calibrate Before Use" (Zhao et al., ICML 2021), in its diagonal form.
        """
        pairs = zip(self.log_likelihoods, without.log_likelihoods, strict=True)
        return AnswerScores(
            log_likelihoods=tuple(own - other for own, other in pairs),
            answer_tokens=self.answer_tokens,
            prompt_tokens=self.prompt_tokens + without.prompt_tokens,
        )


@dataclass(frozen=True)
class TooLong:
    """The prompt and the tokens to be written do not fit into the model's context; `told` says by how much."""

    told: str


Reply = Completion | TooLong
Scored = AnswerScores | TooLong


class LLMBackend(Protocol):
    """A model that answers requests."""

    described: dict[str, Any]
    """What decides its answers besides the request: part of a cell's identity, never a secret."""
    hardware: str
    """What it runs on; "" where that is not known."""
    vocabulary: int
    """Different tokens of its tokenizer; 0 where that is not known."""
    context_limit: int
    """Tokens that a prompt and its answer may have together; 0 where that is not known, or has no limit."""

    def whole(self, request: Request | ScoreRequest) -> dict[str, Any]:
        """Everything that decides the answer, as JSON without secrets: the key of the cache."""

    def complete(self, requests: Sequence[Request], done: Callable[[int, Reply], None]) -> None:
        """Answer requests in any order; call `done` with each one's index and reply as soon as it is there.

        Raises RunError if the model cannot answer; replies until then have been passed to `done`.
        """

    def score(self, requests: Sequence[ScoreRequest], done: Callable[[int, Scored], None]) -> None:
        """Scores answers, as `complete` does.  Raises RunError also for a model that reports no likelihoods."""

    def count_tokens(self, text: str) -> int:
        """Number of tokens of a text by the model's own tokenizer, without special ones.

        Raises RunError if no tokenizer of the model is available.
        """


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop sequence in it, and whether there is one."""
    places = [place for place in (text.find(word) for word in stop) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)


def _check_text(*texts: str) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            broken = text[error.start : error.start + 1]
            raise UsageError(
                f"a text for the model holds U+{ord(broken):04X}, half a character; mend the data"
            ) from error
