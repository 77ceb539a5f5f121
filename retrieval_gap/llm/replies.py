"""Parse a server's replies, whole or streamed, in both of OpenAI's forms."""

import json
from collections.abc import AsyncIterator
from typing import Any

from retrieval_gap.llm.families import without_reasoning
from retrieval_gap.llm.request import Completion, Request, cut_at_stop
from retrieval_gap.llm.too_long import says_too_long
from retrieval_gap.machine.printing import redacted

# Finish reasons of a whole answer (OpenAI's and TGI's; None if the server gives none), and of one cut at its limit.
# After any other ("abort", "error", "content_filter") the text is not the model's answer.
ENDED, CUT = frozenset({None, "stop", "eos_token", "stop_sequence"}), frozenset({"length"})


class BrokenReplyError(Exception):
    """A reply that is not a completion: cut off, ended by a fault, or of another form."""


class NoAnswerError(BrokenReplyError):
    """A whole reply without any answer in it.  instead: the empty answer to return if retries give none either."""

    def __init__(self, instead: Any) -> None:
        super().__init__("the reply has no answer in it (its list of choices is empty)")
        self.instead = instead


class TooLongReplyError(Exception):
    """A reply in which the server says that the prompt does not fit."""


def parsed(body: str, request: Request) -> Completion:
    """Parse a whole reply.  Raises BrokenReplyError or TooLongReplyError."""
    try:
        reply = json.loads(body)
        if "choices" not in reply and "error" in reply:
            raise _fault(reply["error"])
        if reply["choices"] == []:
            raise NoAnswerError(_completion("", None, reply.get("usage"), request))
        (choice,) = reply["choices"]
        message = choice.get("message")
        text = choice["text"] if message is None else message.get("content")
        return _completion(text or "", choice.get("finish_reason"), reply.get("usage"), request)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BrokenReplyError(f"the reply is not a completion ({body[:80]!r})") from error


async def parsed_stream(chunks: AsyncIterator[bytes], request: Request) -> Completion:
    """Parse a reply of server-sent events.  Raises BrokenReplyError if it is cut off early, or TooLongReplyError."""
    text, finish, usage, whole = "", None, None, False
    async for line in lines_of(chunks):
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            whole = True
            break
        try:
            event = json.loads(data)
            if event.get("error"):
                raise _fault(event["error"])
            usage = event.get("usage") or usage
            for choice in event.get("choices") or ():
                delta = choice.get("delta")
                text += (choice.get("text") if delta is None else delta.get("content")) or ""
                finish = choice.get("finish_reason") or finish
        except (ValueError, TypeError, AttributeError) as error:
            raise BrokenReplyError(f"an event is not a part of a completion ({data[:80]!r})") from error
    if not whole and finish is None:
        raise BrokenReplyError("the stream was cut off")
    return _completion(text, finish, usage, request)


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """The lines of a stream, split at line feeds only: a text may contain U+2028 and its like."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield redacted(line.decode("utf-8", "replace").removesuffix("\r"))
    if rest:
        yield redacted(rest.decode("utf-8", "replace").removesuffix("\r"))


def check_no_fault(text: str) -> None:
    """Raises TooLongReplyError or BrokenReplyError if a body reports an error, whatever its status."""
    try:
        told = json.loads(text)
    except ValueError:
        return
    if isinstance(told, dict) and told.get("error"):
        raise _fault(told["error"])


def _fault(told: Any) -> Exception:
    message = told.get("message") if isinstance(told, dict) else told
    text = json.dumps(told, ensure_ascii=False)
    if says_too_long(text):
        return TooLongReplyError(str(message)[:200])
    return BrokenReplyError(f"the server broke off: {str(message or text)[:200]}")


def _completion(text: str, finish: Any, usage: Any, request: Request) -> Completion:
    """A server may ignore stop sequences, and may write text that is not UTF-8.  Raises BrokenReplyError for an answer
    that did not end well."""
    if not isinstance(finish, str | None) or finish not in ENDED | CUT:
        raise BrokenReplyError(f"the server ended an answer with {finish!r}")
    said = redacted(text.encode("utf-8", "replace").decode())
    kept, stopped = cut_at_stop(without_reasoning(said), request.stop)
    usage = usage if isinstance(usage, dict) else {}
    return Completion(
        text=kept,
        finished=stopped or finish not in CUT,
        prompt_tokens=count_of(usage, "prompt_tokens"),
        completion_tokens=count_of(usage, "completion_tokens"),
    )


def count_of(usage: dict[str, Any], name: str) -> int:
    told = usage.get(name)
    return told if isinstance(told, int) and told > 0 else 0
