"""The likelihood of an answer from a server that reports only the likeliest next tokens: the answer is followed token
by token, each time by the longest reported token that continues it.

A tokenizer that merges bytes nearly always splits a text so; otherwise the sum is that of another split.
"""

from collections.abc import Awaitable, Callable

from retrieval_gap.machine.errors import RunError

# Log-likelihoods of tokens, in nats, by their bytes.
Next = dict[bytes, float]
# Tokens asked for at first; more take a server longer.
FIRST = 1000


class Walk:
    """Follows the answers of one request; what they have in common at the start is asked once.

    ask: returns so many of the likeliest tokens after the prompt and a text; None if the server reports none.
    vocabulary: number of tokens, 0 if unknown.
    """

    def __init__(self, ask: Callable[[str, int], Awaitable[Next | None]], vocabulary: int) -> None:
        self._ask, self._tops = ask, (FIRST, vocabulary) if vocabulary > FIRST else (FIRST,)
        self._known: dict[tuple[str, int], Next | None] = {}

    async def likelihood(self, answer: str) -> tuple[float, int] | None:
        """The log-likelihood in nats, and the number of tokens; None if the server reports no likelihoods.

        Raises RunError if no reported token continues the answer, or if none are reported after its first token.
        """
        written, total, tokens = "", 0.0, 0
        while written != answer:
            found = await self._step(written, answer.removeprefix(written))
            if found is None and not tokens:
                return None
            if found is None:
                raise RunError(
                    f"the server reports no likelihoods after {written[-40:]!r}: --answer score cannot be used"
                )
            token, told = found
            written, total, tokens = written + token, total + told, tokens + 1
        return total, tokens

    async def _step(self, written: str, rest: str) -> tuple[str, float] | None:
        """The token that continues the answer, and its log-likelihood.  Tokens that end within a character are left
        out: a prompt cannot end there."""
        for top in self._tops:
            likely = await self._next(written, top)
            if likely is None:
                return None
            starts = (rest[:end] for end in range(len(rest), 0, -1))
            longest = next((start for start in starts if start.encode() in likely), "")
            if longest:
                return longest, likely[longest.encode()]
        raise RunError(
            f"an answer goes on with {rest[:40]!r}, which is none of the {top} tokens that the server reports"
        )

    async def _next(self, written: str, top: int) -> Next | None:
        if (written, top) not in self._known:
            self._known[written, top] = await self._ask(written, top)
        return self._known[written, top]
