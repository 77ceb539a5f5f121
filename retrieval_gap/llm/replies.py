"""What a server's reply says, whole or streamed, of both of OpenAI's forms."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from retrieval_gap.llm.request import Completion, Request, cut_at_stop


class BrokenReplyError(Exception):
    """A reply that is no completion: cut off, or of another form."""


def parsed(body: str, request: Request) -> Completion:
    """A whole reply.  Raises BrokenReplyError."""
    try:
        reply = json.loads(body)
        (choice,) = reply["choices"]
        message = choice.get("message")
        text = choice["text"] if message is None else message.get("content")
        return _completion(text or "", choice.get("finish_reason"), reply.get("usage"), request)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BrokenReplyError(f"the reply is no completion ({body[:80]!r})") from error


async def parsed_stream(lines: AsyncIterator[str], request: Request) -> Completion:
    """A reply in server-sent events.  Raises BrokenReplyError where it is cut off before the end."""
    text, finish, usage, whole = "", None, None, False
    async for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            whole = True
            break
        try:
            event = json.loads(data)
            if "error" in event:
                raise BrokenReplyError(f"the server broke off: {str(event['error'])[:200]}")
            usage = event.get("usage") or usage
            for choice in event.get("choices", ()):
                delta = choice.get("delta")
                text += (choice.get("text") if delta is None else delta.get("content")) or ""
                finish = choice.get("finish_reason") or finish
        except (ValueError, TypeError, AttributeError) as error:
            raise BrokenReplyError(f"an event is no part of a completion ({data[:80]!r})") from error
    if not whole and finish is None:
        raise BrokenReplyError("the stream was cut off")
    return _completion(text, finish, usage, request)


def _completion(text: str, finish: str | None, usage: Any, request: Request) -> Completion:
    """A server may ignore stop sequences, and may write what is no UTF-8."""
    kept, stopped = cut_at_stop(text.encode("utf-8", "replace").decode(), request.stop)
    usage = usage if isinstance(usage, dict) else {}
    return Completion(
        text=kept,
        finished=stopped or finish != "length",
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _count(told: Any) -> int:
    return told if isinstance(told, int) and told > 0 else 0


@dataclass(frozen=True, kw_only=True)
class Echoed:
    """What a server told of an answer that stands at a prompt's end."""

    log_likelihood: float
    tokens: int
    prompt_tokens: int


def echoed_likelihood(body: str, answer: str) -> Echoed | None:
    """From a reply that repeats the prompt with a likelihood for each token, and one token more; None where the server
    reports no likelihoods of what it reads.  An answer's tokens are the last ones that spell it.

    Raises BrokenReplyError.
    """
    try:
        reply = json.loads(body)
        (choice,) = reply["choices"]
        told = choice.get("logprobs") or {}
        words, likelihoods = told.get("tokens"), told.get("token_logprobs")
        if not isinstance(words, list) or not isinstance(likelihoods, list):
            return None
        usage = reply.get("usage") if isinstance(reply.get("usage"), dict) else {}
        written = _count(usage.get("completion_tokens")) if "completion_tokens" in usage else 1
        last = len(words) - written
        first, spelled = last, ""
        while first > 0 and len(spelled) < len(answer):
            first -= 1
            spelled = words[first] + spelled
        if last <= 1 or not spelled.endswith(answer) or any(each is None for each in likelihoods[first:last]):
            return None
        total = float(sum(likelihoods[first:last]))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BrokenReplyError(f"the reply is no completion ({body[:80]!r})") from error
    return Echoed(log_likelihood=total, tokens=last - first, prompt_tokens=last)


def counted_tokens(body: str) -> int | None:
    """From what `/tokenize` says: a count, or a list of tokens, by itself or under `tokens`; None for anything else."""
    try:
        told = json.loads(body)
    except ValueError:
        return None
    if isinstance(told, dict):
        told = told.get("count", told.get("tokens"))
    if isinstance(told, list):
        return len(told)
    return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else None
