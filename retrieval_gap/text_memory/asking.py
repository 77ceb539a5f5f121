"""Requests of one stream: generators that yield requests and are sent the replies, with a count of calls and tokens."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from retrieval_gap.llm.request import Completion, Request, ScoreRequest
from retrieval_gap.tasks.streams.stream import Benchmark, Step, Stream, Target, Value
from retrieval_gap.text_memory.answers import chosen, fitting, parsed, prediction_request, score_request
from retrieval_gap.text_memory.prompts import NOTES, NOTHING
from retrieval_gap.text_memory.settings import Settings
from retrieval_gap.text_memory.tokens import Counter


@dataclass(frozen=True)
class ToJudge:
    """A request for the judge, which may be another model."""

    request: Request


Ask = Request | ScoreRequest | ToJudge
T = TypeVar("T")
Talk = Generator[Ask, Any, T]


@dataclass
class Usage:
    """calls: requests, answered by the model or the cache.  read, written: tokens, as the model counts."""

    calls: int = 0
    read: int = 0
    written: int = 0

    def add(self, read: int, written: int) -> None:
        self.calls += 1
        self.read += read
        self.written += written


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """value: None if the reply could not be parsed.  reply: as written, "" if answers are scored."""

    value: Value | None
    reply: str = ""
    cut: bool = False


@dataclass
class Speaker:
    """What a method needs to make requests for one stream.  count: of tokens, by the model's tokenizer.  usage: since
    the last `take_usage`.  done: number of past steps."""

    benchmark: Benchmark
    stream: Stream
    target: Target
    settings: Settings
    count: Counter
    usage: Usage = field(default_factory=Usage)
    done: int = 0

    def write(self, request: Request, *, to_judge: bool = False) -> Talk[Completion]:
        """Raises RunError for a prompt that does not fit."""
        asked = self._with_thinking(request)
        completion = fitting((yield ToJudge(asked) if to_judge else asked))
        self.usage.add(completion.prompt_tokens, completion.completion_tokens)
        return completion

    def predict(self, carried: str, now: Step) -> Talk[Prediction]:
        """Predict a step from `carried`, a method's text, "" for none."""
        carried = f"{NOTES}\n{carried}" if carried else ""
        request = prediction_request(self.target, carried, now, self.settings)
        if isinstance(request, Request):
            completion = yield from self.write(request)
            value = parsed(self.target, completion.text)
            return Prediction(value=value, reply=completion.text, cut=not completion.finished)
        scored = yield request
        without = None
        if self.settings.answer == "calibrated":
            without = yield score_request(self.target, carried, NOTHING, now.lead)
        value = chosen(self.target, scored, without)
        for each in (scored, without):
            if each is not None:
                self.usage.add(each.prompt_tokens, 0)
        return Prediction(value=value)

    def _with_thinking(self, request: Request) -> Request:
        return replace(request, max_tokens=request.max_tokens + self.settings.thinking)

    def take_usage(self) -> Usage:
        taken, self.usage = self.usage, Usage()
        return taken
