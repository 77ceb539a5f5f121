"""Parse the numbers that a server reports about a text: likelihoods of its tokens, and their count."""

import json
from dataclasses import dataclass

from retrieval_gap.llm.replies import BrokenReplyError, count_of


@dataclass(frozen=True, kw_only=True)
class Echoed:
    """What a server reports about an answer at the end of a prompt."""

    log_likelihood: float
    tokens: int
    prompt_tokens: int


def echoed_likelihood(body: str, answer: str) -> Echoed | None:
    """Parse a reply that repeats the prompt with a likelihood for each token, and one token more; None if the server
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
        written = count_of(usage, "completion_tokens") if "completion_tokens" in usage else 1
        last = len(words) - written
        first, spelled = last, ""
        while first > 0 and len(spelled) < len(answer):
            first -= 1
            spelled = words[first] + spelled
        if last <= 1 or not spelled.endswith(answer) or any(each is None for each in likelihoods[first:last]):
            return None
        total = float(sum(likelihoods[first:last]))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BrokenReplyError(f"the reply is not a completion ({body[:80]!r})") from error
    return Echoed(log_likelihood=total, tokens=last - first, prompt_tokens=last)


def likely_next(body: str) -> dict[bytes, float] | None:
    """The likeliest next tokens by their bytes, in either of OpenAI's forms; None if a reply has none.

    Raises BrokenReplyError.
    """
    try:
        (choice,) = json.loads(body)["choices"]
        told = choice.get("logprobs") or {}
        if told.get("content"):
            listed = told["content"][0]["top_logprobs"]
            return {
                bytes(each.get("bytes") or each["token"].encode()): float(each["logprob"]) for each in listed
            } or None
        first = (told.get("top_logprobs") or [None])[0]
        return {token.encode(): float(likely) for token, likely in first.items()} if first else None
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise BrokenReplyError(f"the reply is not a completion ({body[:80]!r})") from error


def counted_tokens(body: str) -> int | None:
    """From a reply of `/tokenize`: a count or a list of tokens, alone or in an object; None for anything else."""
    try:
        told = json.loads(body)
    except ValueError:
        return None
    if isinstance(told, dict):
        told = told.get("count", told.get("tokens"))
    if isinstance(told, list):
        return len(told)
    return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else None
