"""Send the requests of one call: `concurrency` at a time, at the server's pace, each retried as needed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Generic, TypeVar

import httpx2

from retrieval_gap.llm.config import ServerConfig
from retrieval_gap.llm.connection import opened, reason
from retrieval_gap.llm.pace import LONGEST_WAIT, PASSING, Pace, backoff
from retrieval_gap.llm.replies import BrokenReplyError, NoAnswerError
from retrieval_gap.llm.too_long import HINT, REFUSING
from retrieval_gap.machine.errors import RunError

# After this many requests in a row that failed for good, the server is taken to be gone.
GIVEN_UP = 3
T = TypeVar("T")


class StatusError(Exception):
    """A reply with another status than 200.  wait: seconds that the server asks to wait, 0 if it does not."""

    def __init__(self, status: int, told: str, wait: float) -> None:
        super().__init__(f"status {status}: {told[:400]}")
        self.status, self.told, self.wait = status, told, wait


class Flight(Generic[T]):
    """`total` requests.  once: one try of the request at an index; it raises httpx2.TransportError, BrokenReplyError or
    StatusError.  done: called with each request's index and reply."""

    def __init__(
        self,
        config: ServerConfig,
        total: int,
        once: Callable[[httpx2.AsyncClient, int], Awaitable[T]],
        done: Callable[[int, T], None],
    ) -> None:
        self._config, self._total, self._once, self._done = config, total, once, done
        self._pace = Pace(config.requests_per_minute)
        self._waiting: Iterator[int] = iter(range(total))
        self._failed: list[str] = []
        self._failed_in_a_row = 0

    def run(self, headers: dict[str, str]) -> None:
        """Raises RunError, with the number of requests that failed after all their tries, once the others are done, or
        as soon as nothing succeeds any more."""
        asyncio.run(self._all(headers))

    async def _all(self, headers: dict[str, str]) -> None:
        async with opened(httpx2.AsyncClient, self._config, headers) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._config.concurrency, self._total)):
                        group.create_task(self._work(client))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        if self._failed:
            raise self._given_up()

    async def _work(self, client: httpx2.AsyncClient) -> None:
        for place in self._waiting:
            try:
                reply = await self._tried(client, place)
            except _GaveUpError as error:
                self._failed.append(str(error))
                self._failed_in_a_row += 1
                if self._failed_in_a_row >= GIVEN_UP:
                    raise self._given_up() from error
            else:
                self._failed_in_a_row = 0
                self._done(place, reply)

    async def _tried(self, client: httpx2.AsyncClient, place: int) -> T:
        """Raises _GaveUpError after the last try, RunError for an error that no retry can mend."""
        failures = 0
        while True:
            await self._pace.turn()
            try:
                return await self._once(client, place)
            except NoAnswerError as error:
                if failures + 1 >= self._config.tries:
                    return error.instead
                told, wait = str(error), 0.0
            except (httpx2.TransportError, BrokenReplyError) as error:
                told, wait = reason(error), 0.0
            except StatusError as error:
                told, wait = str(error), error.wait
                if error.status not in PASSING:
                    hint = f"; {HINT}" if error.status in REFUSING else ""
                    raise RunError(f"{self._config.base_url} refuses a request: {error}{hint}") from error
            failures += 1
            if failures >= self._config.tries or wait > LONGEST_WAIT:
                raise _GaveUpError(f"{told} (after {failures} tries)")
            if wait:
                self._pace.hold(wait)
            await asyncio.sleep(max(wait, backoff(failures, self._config.backoff_s)))

    def _given_up(self) -> RunError:
        return RunError(
            f"{self._config.base_url}: {len(self._failed)} of {self._total} requests failed, the first: "
            f"{self._failed[0]}; what was answered is kept, call again to go on"
        )


class _GaveUpError(Exception):
    """A request failed in all of its tries."""
