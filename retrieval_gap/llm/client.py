"""A model behind a cache: what was answered before is not asked again."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.progress import Progress

from retrieval_gap.llm.cache import Cache
from retrieval_gap.llm.config import Price
from retrieval_gap.llm.request import Backend, Completion, Reply, Request


@dataclass
class Spent:
    """What asking took: `requests` went to the model, `cached` were answered from the disk; tokens of the former."""

    requests: int = 0
    cached: int = 0
    read: int = 0
    written: int = 0

    def told(self, price: Price) -> str:
        cost = f", {price.of(self.read, self.written):.4f} dollars" if price != Price() else ""
        return (
            f"{self.requests:,} requests to the model ({self.read:,} tokens read, {self.written:,} written{cost}), "
            f"{self.cached:,} answered from the cache"
        )


class Client:
    """Asks a backend what the cache does not hold, and keeps each reply as it comes."""

    def __init__(self, backend: Backend, cache: Cache) -> None:
        self.backend, self.spent = backend, Spent()
        self._cache = cache

    def ask(self, requests: Sequence[Request], what: str = "") -> list[Reply]:
        """The replies in the requests' order; one of equal requests is asked.  what: stands beside the progress bar.

        Raises RunError as the backend does.  A prompt that is too long is not kept: it costs nothing to ask again.
        """
        replies: dict[Request, Reply] = {}
        for request in dict.fromkeys(requests):
            kept = self._cache.get(self.backend.whole(request))
            if kept is not None:
                replies[request] = kept
        self.spent.cached += len(replies)
        missing = [request for request in dict.fromkeys(requests) if request not in replies]
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            bar = progress.add_task(what, total=len(missing))

            def done(place: int, reply: Reply) -> None:
                self._keep(missing[place], reply)
                replies[missing[place]] = reply
                progress.advance(bar)

            if missing:
                self.backend.complete(missing, done)
        return [replies[request] for request in requests]

    def _keep(self, request: Request, reply: Reply) -> None:
        if isinstance(reply, Completion):
            self._cache.put(self.backend.whole(request), reply)
            self.spent.requests += 1
            self.spent.read += reply.prompt_tokens
            self.spent.written += reply.completion_tokens
