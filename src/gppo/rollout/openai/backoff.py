"""How long to wait before a request is sent again."""

import random
import time
from email.utils import parsedate_to_datetime

FIRST, LONGEST = 0.5, 60.0  # seconds
#: A server that asks for more is not waited for longer: the next attempt asks it again.
LONGEST_ASKED = 900.0


def delay(attempt: int, asked: float | None, chance: random.Random) -> float:
    """Seconds before the next attempt.

    Without a wish of the server ``min(60, 0.5 * 2^attempt)``, of which a random half is taken away so that those who
    failed together do not come back together. With one, at least that, and up to as much again as without.

    Args:
        attempt: how many were made before the one that failed.
        asked: the server's Retry-After in seconds, None without one.
        chance: draws the jitter.
    """
    own = min(LONGEST, FIRST * 2.0 ** min(attempt, 30))
    if asked is None:
        return own * chance.uniform(0.5, 1.0)
    return min(asked, LONGEST_ASKED) + own * chance.random()


def retry_after(value: str | None, now: float | None = None) -> float | None:
    """Retry-After in seconds from now, never below 0; None where it is absent or makes no sense (RFC 9110, 10.2.3).

    Args:
        value: the header: seconds, or a date.
        now: seconds since 1970.
    """
    if value is None:
        return None
    text = value.strip()
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - (time.time() if now is None else now)
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if abs(seconds) < float("inf") else None
