"""A model on an OpenAI-compatible server: vLLM, llama.cpp, a hosted one.

`concurrency` requests are in flight at a time.  Passing failures (a full server, its own faults, a cut connection,
silence) are retried; lasting ones (a wrong key, a refused request) end the run with the server's words.
"""

import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import httpx2

from retrieval_gap.llm.bodies import completion_body, echo_body, next_token_body, tokenize_body
from retrieval_gap.llm.config import LLMConfig, ServerConfig
from retrieval_gap.llm.connection import opened, reason
from retrieval_gap.llm.families import family_of
from retrieval_gap.llm.in_flight import Flight, StatusError
from retrieval_gap.llm.pace import asked_to_wait, backoff
from retrieval_gap.llm.replies import TooLongReplyError, check_no_fault, parsed, parsed_stream
from retrieval_gap.llm.reported import counted_tokens, echoed_likelihood, likely_next
from retrieval_gap.llm.request import AnswerScores, Completion, Reply, Request, Scored, ScoreRequest, TooLong
from retrieval_gap.llm.too_long import says_too_long
from retrieval_gap.llm.walking import Walk
from retrieval_gap.llm.wording import prompt_text
from retrieval_gap.machine.errors import RunError, UsageError, unknown
from retrieval_gap.machine.printing import keep_secret, redacted

# Servers' names for a model's context limit, in its entry of /models.
LIMITS = ("max_model_len", "context_length", "context_window")
# Fields of an entry of /models about the moment, the price or the server, not about the weights.
PASSING_FACTS = frozenset(
    {"id", "object", "created", "permission", "status", "n_ctx", "pricing", "top_provider", "per_request_limits"}
    | set(LIMITS)
)
# Statuses with which a server may refuse a prompt that is too long.
SAID_WITH = frozenset({400, 413, 422, 500})
# Texts whose count of tokens is kept: a memory is counted more than once.
COUNTS_KEPT = 4096


class Tokenizer(Protocol):
    """What `--tokenizer` loads."""

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> Any: ...

    def __len__(self) -> int: ...


class ServerBackend:
    """key: sent as a bearer token, shown nowhere.  tokenizer: the model's own, if available; otherwise the server
    counts tokens, and refuses what is too long.

    Raises RunError if no server answers, UsageError if it does not have the model.
    """

    def __init__(
        self, model: LLMConfig, config: ServerConfig, *, key: str = "", tokenizer: Tokenizer | None = None
    ) -> None:
        self.config, self._model, self._key, self._tokenizer = config, model, key, tokenizer
        keep_secret(key)
        if not family_of(model.model).greedy:
            print(f"{model.shown_name} takes no temperature: its answers differ from run to run", file=sys.stderr)
        self._url = config.base_url.rstrip("/")
        self.described: dict[str, Any] = {"backend": self._url, "model": model.model, "api": model.api}
        self.hardware = ""
        self._facts: dict[str, Any] = {"name": model.name} if model.name else {}
        entry = self._told()  # always requested: it shows that the server is there and has the model
        told = _lasting(entry)
        if told:
            self._facts["told"] = self.described["told"] = told
        limits = [entry.get(limit) for limit in LIMITS]
        found = next((told for told in limits if isinstance(told, int) and told > 0), 0)
        self.context_limit = model.context_limit or found
        self.vocabulary = len(tokenizer) if tokenizer else _vocabulary(entry)
        self._counted = functools.lru_cache(COUNTS_KEPT)(self._asked_to_count)

    def whole(self, request: Request | ScoreRequest) -> dict[str, Any]:
        """Address and body, and what distinguishes models at one address: `--name`, and the server's facts about its
        model."""
        whole: dict[str, Any] = {"url": self._path()} | ({"server": self._facts} if self._facts else {})
        if isinstance(request, ScoreRequest):
            return whole | {"scored": [echo_body(self._model, request, answer) for answer in request.answers]}
        whole["body"] = completion_body(self._model, self.config, request)
        return whole | ({"draw": request.draw} if request.draw else {})

    def complete(self, requests: Sequence[Request], done: Callable[[int, Reply], None]) -> None:
        async def once(client: httpx2.AsyncClient, place: int) -> Reply:
            return await self._completed(client, requests[place])

        Flight(self.config, len(requests), once, done).run(self._headers())

    def score(self, requests: Sequence[ScoreRequest], done: Callable[[int, Scored], None]) -> None:
        """Raises UsageError for --api chat, RunError for a server that reports no likelihoods."""
        if self._model.api == "chat":
            raise UsageError("answers are scored by --api completions: a chat's turns have no likelihoods")

        async def once(client: httpx2.AsyncClient, place: int) -> Scored:
            return await self._scored(client, requests[place])

        Flight(self.config, len(requests), once, done).run(self._headers())

    def count_tokens(self, text: str) -> int:
        """Count by the tokenizer, else by the server's `/tokenize`."""
        if self._tokenizer:
            return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        return self._counted(text)

    def _path(self) -> str:
        return f"{self._url}/{'chat/completions' if self._model.api == 'chat' else 'completions'}"

    async def _completed(self, client: httpx2.AsyncClient, request: Request) -> Reply:
        """Try a request once."""
        counted = 0
        if self._tokenizer:
            counted = len(self._tokenizer(prompt_text(request))["input_ids"])
        if counted and self.context_limit and counted + request.max_tokens > self.context_limit:
            return TooLong(f"{counted} + {request.max_tokens} tokens, {self.context_limit} are the limit")
        try:
            reply = await self._posted(client, request)
        except (StatusError, TooLongReplyError) as error:
            return _too_long(error)
        return _whole_prompt_read(reply, counted, request, self.context_limit)

    async def _posted(self, client: httpx2.AsyncClient, request: Request) -> Completion:
        body = completion_body(self._model, self.config, request)
        if not self.config.stream:
            response = await client.post(self._path(), json=body)
            self._check(response)
            return parsed(_text(response), request)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        async with client.stream("POST", self._path(), json=body) as response:
            if response.status_code != 200:
                await response.aread()
            self._check(response)
            return await parsed_stream(response.aiter_bytes(), request)

    async def _scored(self, client: httpx2.AsyncClient, request: ScoreRequest) -> Scored:
        """Try once to score all answers."""
        try:
            return await self._echoed(client, request) or await self._walked(client, request)
        except (StatusError, TooLongReplyError) as error:
            return _too_long(error)

    async def _echoed(self, client: httpx2.AsyncClient, request: ScoreRequest) -> AnswerScores | None:
        """Score by the likelihoods of what the server reads; None if it reports none."""
        sums, tokens, read = [], [], 0
        for answer in request.answers:
            told = echoed_likelihood(await self._told_of(client, echo_body(self._model, request, answer)), answer)
            if told is None:
                return None
            sums.append(told.log_likelihood)
            tokens.append(told.tokens)
            read += told.prompt_tokens
        return AnswerScores(log_likelihoods=tuple(sums), answer_tokens=tuple(tokens), prompt_tokens=read)

    async def _walked(self, client: httpx2.AsyncClient, request: ScoreRequest) -> AnswerScores:
        """Score by the likelihoods of next tokens, as llama.cpp reports them.  Raises RunError if there are none."""

        async def likeliest(written: str, top: int) -> dict[bytes, float] | None:
            return likely_next(await self._told_of(client, next_token_body(self._model, request, written, top)))

        walk, found = Walk(likeliest, self.vocabulary), list[tuple[float, int]]()
        for answer in request.answers:
            told = await walk.likelihood(answer)
            if told is None:
                raise RunError(
                    f"{self._url} reports no likelihoods (logprobs); vLLM and llama.cpp do, and so does a local model"
                )
            found.append(told)
        sums, tokens = zip(*found, strict=True)
        return AnswerScores(log_likelihoods=sums, answer_tokens=tokens)

    async def _told_of(self, client: httpx2.AsyncClient, body: dict[str, Any]) -> str:
        response = await client.post(self._path(), json=body)
        self._check(response)
        told = _text(response)
        check_no_fault(told)
        return told

    def _asked_to_count(self, text: str) -> int:
        root = self._url.removesuffix("/v1")
        try:
            response = self._once_loaded("POST", f"{root}/tokenize", tokenize_body(self._model, text))
        except httpx2.TransportError as error:
            raise RunError(f"no server answers at {root}/tokenize ({reason(error)})") from error
        count = counted_tokens(_text(response)) if response.status_code == 200 else None
        if count is None:
            raise RunError(f"{root} counts no tokens (/tokenize); --tokenizer names a folder or model that does")
        return count

    def _once_loaded(self, method: str, url: str, body: dict[str, Any] | None = None) -> httpx2.Response:
        """Send a request; retry it, as often as others, while the server is still loading its model (status 503)."""
        with opened(httpx2.Client, self.config, self._headers()) as client:
            for failures in range(self.config.tries):
                if failures:
                    time.sleep(backoff(failures, self.config.backoff_s))
                response = client.request(method, url, json=body)
                if response.status_code != 503:
                    break
        return response

    def _check(self, response: httpx2.Response) -> None:
        if response.status_code != 200:
            raise StatusError(response.status_code, " ".join(_text(response).split()), asked_to_wait(response.headers))

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    def _told(self) -> dict[str, Any]:
        """The model's entry in the server's list of models; empty without such a list."""
        try:
            response = self._once_loaded("GET", f"{self._url}/models")
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise RunError(
                f"no server answers at {self._url} ({reason(error)}); start it, or see --base-url"
            ) from error
        if response.status_code in (401, 403):
            raise RunError(f"{self._url} refuses the key ({response.status_code}); see --api-key-env")
        try:
            entries = [entry for entry in json.loads(_text(response))["data"] if isinstance(entry, dict)]
        except (ValueError, LookupError, TypeError):
            return {}
        names = [str(entry.get("id")) for entry in entries]
        if names and self._model.model not in names:
            raise unknown(f"model of {self._url}", self._model.model, names)
        return next((entry for entry in entries if entry.get("id") == self._model.model), {})


def _too_long(error: StatusError | TooLongReplyError) -> TooLong:
    """Raises the error again if it says something else."""
    if isinstance(error, StatusError) and not (error.status in SAID_WITH and says_too_long(error.told)):
        raise error
    return TooLong(error.told[:400] if isinstance(error, StatusError) else str(error))


def _text(response: httpx2.Response) -> str:
    """The body as text: JSON is UTF-8, whatever its header says.  A key that a server repeats is removed here."""
    return redacted(response.content.decode("utf-8", "replace"))


def _lasting(entry: dict[str, Any]) -> dict[str, Any]:
    """The server's facts about its model without `PASSING_FACTS`, at any depth."""
    return {
        key: _lasting(value) if isinstance(value, dict) else value
        for key, value in entry.items()
        if key not in PASSING_FACTS
    }


def _vocabulary(entry: dict[str, Any]) -> int:
    """As llama.cpp reports it; 0 if unknown."""
    meta = entry.get("meta")
    told = meta.get("n_vocab") if isinstance(meta, dict) else None
    return told if isinstance(told, int) and told > 0 else 0


def _whole_prompt_read(reply: Completion, counted: int, request: Request, limit: int) -> Reply:
    """The reply, or TooLong if the server's own count shows that it did not refuse the prompt but cut it, or shifted it
    out of its context while it wrote."""
    read = reply.prompt_tokens
    if read and read < counted - 8:  # only one of the two may count a first or last special token
        return TooLong(f"the server read {read} of {counted} tokens")
    if limit and read + request.max_tokens > limit:
        return TooLong(f"{read} + {request.max_tokens} tokens, {limit} are the limit")
    return reply
