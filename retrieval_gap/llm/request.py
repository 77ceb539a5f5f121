"""What a language model is asked and what it answers, whichever backend it runs on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

Api = Literal["completions", "chat"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """Text to be continued greedily, up to the first of `stop` or `max_tokens` tokens.

    written: what the model wrote of the answer so far, with what searches found; it goes on from there.
    """

    prompt: str
    written: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int


@dataclass(frozen=True, kw_only=True)
class Completion:
    """The text up to the stop, without it.

    finished: False where `max_tokens` ended it.  prompt_tokens, completion_tokens: as the model counts; 0 where a
    server does not tell.
    """

    text: str
    finished: bool
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class TooLong:
    """The prompt and the tokens to be written do not fit into the model's context; `told` says by how much."""

    told: str


Reply = Completion | TooLong


class Backend(Protocol):
    """A model that answers requests."""

    described: dict[str, Any]
    """What decides its answers besides the request: part of a cell's identity, never a secret."""
    hardware: str
    """What it runs on; "" where that is not known."""

    def whole(self, request: Request) -> dict[str, Any]:
        """All that decides the answer, as JSON: the key of the cache.  No secret is in it."""

    def complete(self, requests: Sequence[Request], done: Callable[[int, Reply], None]) -> None:
        """Answers requests in any order; `done` gets each one's place and reply as soon as it is there.

        Raises RunError where the model cannot answer; what was done until then was handed to `done`.
        """


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before the first stop sequence in it, and whether there is one."""
    places = [place for place in (text.find(word) for word in stop) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)
