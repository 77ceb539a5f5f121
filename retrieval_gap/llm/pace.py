"""When a request may be sent (a rate per minute, waits that the server asks for), and which failures are retried."""

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

# Statuses worth a retry: too slow, too early, too many, and the server's own faults.
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
# Seconds: the longest back-off, and the longest wait that a server may ask for.
LONGEST_BACKOFF, LONGEST_WAIT = 60.0, 600.0


class Pace:
    """Lets requests go one by one.  per_minute: the most, 0 for no limit.  Times are those of `time.monotonic`."""

    def __init__(self, per_minute: float) -> None:
        self._spacing = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0

    async def turn(self) -> None:
        """Wait until one more request may be sent."""
        while (wait := self._next - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self._next = time.monotonic() + self._spacing

    def hold(self, seconds: float) -> None:
        """Send no request for this long, because the server said so."""
        self._next = max(self._next, time.monotonic() + seconds)


def backoff(failures: int, first: float) -> float:
    """Seconds to wait after this many failures: doubled from `first`, plus up to a half at random, so that requests
    that failed together are not retried together."""
    return min(LONGEST_BACKOFF, first * 2 ** (failures - 1)) * (1 + random.random() / 2)


def asked_to_wait(headers: Mapping[str, str]) -> float:
    """Seconds that `Retry-After` asks for, as a number or an HTTP date of any form; 0 without one.  A date without a
    zone is in UTC, as in HTTP."""
    text = headers.get("retry-after", "").strip()
    with contextlib.suppress(ValueError):
        seconds = float(text)
        return seconds if seconds > 0 else 0.0  # NaN: no wait
    with contextlib.suppress(ValueError, TypeError, OverflowError, IndexError):
        until = parsedate_to_datetime(text)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (until - datetime.now(UTC)).total_seconds())
    return 0.0
