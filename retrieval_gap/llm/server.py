"""A model behind an OpenAI-compatible server: vLLM, llama.cpp, a hosted one.

Requests go out `concurrency` at a time.  What may pass (a full server, its own faults, a cut connection, silence) is
tried again; what will not (a wrong key, a refused request) ends the run with the server's words.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any

import httpx2

from retrieval_gap.llm.config import ModelConfig, ServerConfig
from retrieval_gap.llm.pace import LONGEST_WAIT, PASSING, Pace, asked_to_wait, backoff
from retrieval_gap.llm.replies import BrokenReplyError, parsed, parsed_stream
from retrieval_gap.llm.request import Completion, Reply, Request, TooLong
from retrieval_gap.machine.errors import RunError, unknown

# Names under which servers tell how many tokens a model takes, in its entry of /models.
LIMITS = ("max_model_len", "context_length", "context_window")
# How a server refuses a prompt that does not fit, whatever its status.
REFUSED_AS_TOO_LONG = re.compile(
    r"context[ _](length|size|window)|maximum model length|exceed_context_size|prompt is too long", re.IGNORECASE
)
# Seconds in which a server has to take a connection; what it then takes to answer is another matter.
CONNECTING = 20.0
# So many requests in a row that failed for good: the server is gone.
GIVEN_UP = 3


class ServerBackend:
    """key: sent as a bearer token, shown nowhere.  count_tokens: the model's own, where it is at hand; otherwise the
    server refuses what is too long.

    Raises RunError where no server answers, UsageError where it does not have the model.
    """

    def __init__(
        self,
        model: ModelConfig,
        config: ServerConfig,
        *,
        key: str = "",
        count_tokens: Callable[[str], int] | None = None,
    ) -> None:
        self.config, self._model, self._key, self._count_tokens = config, model, key, count_tokens
        self._url = config.base_url.rstrip("/")
        self.described: dict[str, Any] = {"backend": self._url, "model": model.model, "api": model.api}
        self.hardware = ""
        told = self._told_limit()  # asked in any case: it shows that the server is there and has the model
        self._limit = model.context_limit or told

    def whole(self, request: Request) -> dict[str, Any]:
        return {"url": self._path(), "body": self._body(request)}

    def complete(self, requests: Sequence[Request], done: Callable[[int, Reply], None]) -> None:
        """Raises RunError naming how many requests failed after all their tries, once the others are done, or as soon
        as nothing succeeds any more."""
        asyncio.run(_Batch(self, requests, done).run())

    def _path(self) -> str:
        return f"{self._url}/{'chat/completions' if self._model.api == 'chat' else 'completions'}"

    def _body(self, request: Request) -> dict[str, Any]:
        same = {"model": self._model.model, "max_tokens": request.max_tokens, "temperature": 0, "stop": [*request.stop]}
        if self._model.api == "completions":
            return same | {"prompt": request.prompt + request.written}
        messages = [{"role": "user", "content": request.prompt}]
        if request.written:
            messages += [
                {"role": "assistant", "content": request.written},
                {"role": "user", "content": "Go on exactly where you stopped."},
            ]
        return same | {"messages": messages}

    async def ask(self, client: httpx2.AsyncClient, request: Request) -> Reply:
        """One try.  Raises httpx2.TransportError, BrokenReplyError, _StatusError."""
        counted = self._count_tokens(request.prompt + request.written) if self._count_tokens else 0
        if counted and self._limit and counted + request.max_tokens > self._limit:
            return TooLong(f"{counted} + {request.max_tokens} tokens, {self._limit} are the limit")
        try:
            reply = await self._posted(client, request)
        except _StatusError as error:
            if error.status in (400, 413, 422) and REFUSED_AS_TOO_LONG.search(error.told):
                return TooLong(error.told)
            raise
        return _whole_prompt_read(reply, counted, request, self._limit)

    async def _posted(self, client: httpx2.AsyncClient, request: Request) -> Completion:
        body = self._body(request)
        if not self.config.stream:
            response = await client.post(self._path(), json=body)
            self._check(response)
            return parsed(response.text, request)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        async with client.stream("POST", self._path(), json=body) as response:
            if response.status_code != 200:
                await response.aread()
            self._check(response)
            return await parsed_stream(response.aiter_lines(), request)

    def _check(self, response: httpx2.Response) -> None:
        if response.status_code != 200:
            told = self._without_key(" ".join(response.text.split())[:400])
            raise _StatusError(response.status_code, told, asked_to_wait(response.headers))

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def timeout(self) -> httpx2.Timeout:
        return httpx2.Timeout(self.config.timeout_s, connect=min(self.config.timeout_s, CONNECTING))

    def _told_limit(self) -> int:
        """The model's limit as the server's list of models has it; 0 where it has no such list or tells no limit."""
        try:
            response = httpx2.get(f"{self._url}/models", headers=self.headers(), timeout=self.timeout())
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise RunError(
                f"no server answers at {self._url} ({_reason(error)}); start it, or see --base-url"
            ) from error
        if response.status_code in (401, 403):
            raise RunError(f"{self._url} refuses the key ({response.status_code}); see --api-key-env")
        try:
            entries = [entry for entry in response.json()["data"] if isinstance(entry, dict)]
        except (ValueError, LookupError, TypeError):
            return 0
        names = [str(entry.get("id")) for entry in entries]
        if names and self._model.model not in names:
            raise unknown(f"model of {self._url}", self._model.model, names)
        told = [entry.get(limit) for entry in entries if entry.get("id") == self._model.model for limit in LIMITS]
        return next((limit for limit in told if isinstance(limit, int) and limit > 0), 0)


class _StatusError(Exception):
    """A reply with another status than 200."""

    def __init__(self, status: int, told: str, wait: float) -> None:
        super().__init__(f"status {status}: {told}")
        self.status, self.told, self.wait = status, told, wait


class _Batch:
    """The requests of one call, in flight together."""

    def __init__(self, backend: ServerBackend, requests: Sequence[Request], done: Callable[[int, Reply], None]) -> None:
        self._backend, self._requests, self._done = backend, requests, done
        self._config = backend.config
        self._pace = Pace(self._config.requests_per_minute)
        self._waiting = iter(range(len(requests)))
        self._failed: list[str] = []
        self._failed_in_a_row = 0

    async def run(self) -> None:
        pool = httpx2.Limits(max_connections=self._config.concurrency)
        async with httpx2.AsyncClient(
            headers=self._backend.headers(), timeout=self._backend.timeout(), limits=pool
        ) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(self._config.concurrency, len(self._requests))):
                        group.create_task(self._work(client))
            except ExceptionGroup as errors:
                raise errors.exceptions[0] from None
        if self._failed:
            raise self._given_up()

    async def _work(self, client: httpx2.AsyncClient) -> None:
        for place in self._waiting:
            try:
                reply = await self._tried(client, self._requests[place])
            except _GaveUpError as error:
                self._failed.append(str(error))
                self._failed_in_a_row += 1
                if self._failed_in_a_row >= GIVEN_UP:
                    raise self._given_up() from error
            else:
                self._failed_in_a_row = 0
                self._done(place, reply)

    async def _tried(self, client: httpx2.AsyncClient, request: Request) -> Reply:
        """Raises _GaveUpError after the last try, RunError for what no other try will mend."""
        failures = 0
        while True:
            await self._pace.turn()
            try:
                return await self._backend.ask(client, request)
            except (httpx2.TransportError, BrokenReplyError) as error:
                told, wait = _reason(error), 0.0
            except _StatusError as error:
                told, wait = str(error), error.wait
                if error.status not in PASSING:
                    raise RunError(f"{self._config.base_url} refuses a request: {error}") from error
            failures += 1
            if failures >= self._config.tries or wait > LONGEST_WAIT:
                raise _GaveUpError(f"{told} (after {failures} tries)")
            if wait:
                self._pace.hold(wait)
            await asyncio.sleep(max(wait, backoff(failures, self._config.backoff_s)))

    def _given_up(self) -> RunError:
        return RunError(
            f"{self._config.base_url}: {len(self._failed)} of {len(self._requests)} requests failed, the first: "
            f"{self._failed[0]}; what was answered is kept, call again to go on"
        )


class _GaveUpError(Exception):
    """A request failed as often as it may."""


def _whole_prompt_read(reply: Completion, counted: int, request: Request, limit: int) -> Reply:
    """The reply, or TooLong where the server's own count shows that it cut the prompt, or shifted it out of its context
    while it wrote, instead of refusing it."""
    read = reply.prompt_tokens
    if read and read < counted - 8:  # a first or last special token may be counted by one of the two alone
        return TooLong(f"the server read {read} of {counted} tokens")
    if limit and read + request.max_tokens > limit:
        return TooLong(f"{read} + {request.max_tokens} tokens, {limit} are the limit")
    return reply


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
