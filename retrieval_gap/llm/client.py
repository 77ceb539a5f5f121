"""A model behind a cache: what was answered before is not asked again."""

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
    """What asking took: `requests` went to the model, `cached` were answered from the disk; tokens of the former.

    empty, cut: answers without a word, and answers that `max_tokens` ended, from the model or the disk.
    """

    requests: int = 0
    cached: int = 0
    read: int = 0
    written: int = 0
    empty: int = 0
    cut: int = 0

    def told(self, price: Price) -> str:
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
    """Asks a backend what the cache does not hold, and keeps each reply as it comes."""

    def __init__(self, backend: LLMBackend, cache: Cache) -> None:
        self.backend, self.spent = backend, Spent()
        self._cache = cache

    def ask(self, requests: Sequence[Request], what: str = "") -> list[Reply]:
        """The replies in the requests' order; one of equal requests is asked.  what: stands beside the progress bar.

        Raises RunError as the backend does.  A prompt that is too long is not kept: it costs nothing to ask again.
        """
        return self._answered(requests, self.backend.complete, Completion, what)

    def score(self, requests: Sequence[ScoreRequest], what: str = "") -> list[Scored]:
        """How likely the answers of each request are, as `ask` does."""
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
