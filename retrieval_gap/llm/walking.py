"""The likelihood of an answer from a server that reports, for the next token alone, how likely the likeliest are: the
answer is walked along, token by token, each time by the longest reported token that it goes on with.

A tokenizer that merges bytes cuts a text nearly always so; where it does not, the sum is that of another cut.
"""

from collections.abc import Awaitable, Callable

from retrieval_gap.machine.errors import RunError

# Log-likelihoods of tokens, in nats, by their bytes.
Next = dict[bytes, float]
# Tokens asked for at first; more take a server longer.
FIRST = 1000


class Walk:
    """Along the answers of one request; what they begin alike is asked once.

    ask: the likeliest tokens after the prompt and a text, so many of them; None where the server reports none.
    vocabulary: as many as there are, 0 where that is not known.
    """

    def __init__(self, ask: Callable[[str, int], Awaitable[Next | None]], vocabulary: int) -> None:
        self._ask, self._tops = ask, (FIRST, vocabulary) if vocabulary > FIRST else (FIRST,)
        self._known: dict[tuple[str, int], Next | None] = {}

    async def likelihood(self, answer: str) -> tuple[float, int] | None:
        """In nats, and how many tokens; None where the server reports no likelihoods.

        Raises RunError for an answer that goes on with none of the reported tokens, or, within a character of several
        bytes, where none are reported.
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
        """The token that the answer goes on with, and its log-likelihood.  Tokens of parts of characters are left out:
        a prompt cannot end in one."""
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
