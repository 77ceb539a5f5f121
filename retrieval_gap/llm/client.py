"""A model behind a cache: a request that was answered before is not sent again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.progress import Progress

from retrieval_gap.llm.cache import Cache, Kept
from retrieval_gap.llm.config import Price
from retrieval_gap.llm.request import (
    AnswerScores,
    Completion,
    LLMBackend,
    Reply,
    Request,
    Scored,
    ScoreRequest,
    TooLong,
)
from retrieval_gap.machine.terminal import LiveConsole

Asked = TypeVar("Asked", Request, ScoreRequest)


@dataclass
class Spent:
    """`requests` were sent to the model (`read`, `written`: their tokens), `cached` were answered from disk.

    empty, cut: replies without a word, and replies cut at `max_tokens`, from the model or the disk.
    """

    requests: int = 0
    cached: int = 0
    read: int = 0
    written: int = 0
    empty: int = 0
    cut: int = 0

    def summary(self, price: Price) -> str:
        cost = f", {price.of(self.read, self.written):.4f} dollars" if price != Price() else ""
        odd = ", ".join(
            f"{count:,} {what}"
            for count, what in ((self.empty, "answers empty"), (self.cut, "cut at --max-tokens"))
            if count
        )
        return (
            f"{self.requests:,} requests to the model ({self.read:,} tokens read, {self.written:,} written{cost}), "
            f"{self.cached:,} answered from the cache{f'; {odd}' if odd else ''}"
        )


class Client:
    """Sends a backend what the cache does not have, and stores each reply when it arrives."""

    def __init__(self, backend: LLMBackend, cache: Cache) -> None:
        self.backend, self.spent = backend, Spent()
        self._cache = cache

    def ask(self, requests: Sequence[Request], what: str = "") -> list[Reply]:
        """Return the replies in the requests' order; equal requests are sent once.  what: label of the progress bar.

        Raises RunError as the backend does.  A `TooLong` is not stored: asking again costs nothing.
        """
        return self._answered(requests, self.backend.complete, Completion, what)

    def score(self, requests: Sequence[ScoreRequest], what: str = "") -> list[Scored]:
        """Like `ask`, for the likelihoods of each request's answers."""
        return self._answered(requests, self.backend.score, AnswerScores, what)

    def _answered(
        self,
        requests: Sequence[Asked],
        send: Callable[[Sequence[Asked], Callable[[int, Kept | TooLong], None]], None],
        kind: type[Kept],
        what: str,
    ) -> list[Kept | TooLong]:
        replies: dict[Asked, Kept | TooLong] = {}
        for request in dict.fromkeys(requests):
            kept = self._cache.get(self.backend.whole(request), kind)
            if kept is not None:
                replies[request] = kept
                self._note(kept)
        self.spent.cached += len(replies)
        missing = [request for request in dict.fromkeys(requests) if request not in replies]
        console = LiveConsole()
        with Progress(console=console, transient=True, disable=not console.updates) as progress:
            bar = progress.add_task(what, total=len(missing))

            def done(place: int, reply: Kept | TooLong) -> None:
                self._keep(missing[place], reply)
                replies[missing[place]] = reply
                progress.advance(bar)

            if missing:
                send(missing, done)
        return [replies[request] for request in requests]

    def _keep(self, request: Request | ScoreRequest, reply: Completion | AnswerScores | TooLong) -> None:
        if isinstance(reply, TooLong):
            return
        self._cache.put(self.backend.whole(request), reply)
        self._note(reply)
        self.spent.requests += 1
        self.spent.read += reply.prompt_tokens
        self.spent.written += 0 if isinstance(reply, AnswerScores) else reply.completion_tokens

    def _note(self, reply: Completion | AnswerScores) -> None:
        if isinstance(reply, Completion):
            self.spent.empty += not reply.text.strip()
            self.spent.cut += not reply.finished
