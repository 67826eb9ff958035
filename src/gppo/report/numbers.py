"""Numbers as people read them. Everything here takes None or NaN and answers with a dash."""

from math import isfinite
from typing import Any

NOTHING = "–"


def number(value: Any) -> float | None:
    """The value as a finite float, or None: metrics hold null where a number is undefined."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        return None
    return float(value)


def percent(value: Any, digits: int = 1) -> str:
    """0.1234 -> "12.3"; the sign % is left to the page."""
    share = number(value)
    return NOTHING if share is None else f"{100 * share:.{digits}f}"


def points(value: Any) -> str:
    """A difference of two shares in percentage points, signed: 0.5 -> "+50.0"."""
    share = number(value)
    return NOTHING if share is None else f"{100 * share:+.1f}".replace("-", "−")


def small_percent(value: Any) -> str:
    """A share that may be tiny, with its sign %: 0.00042 -> "0.042 %"."""
    share = number(value)
    if share is None:
        return NOTHING
    if share == 0:
        return "0 %"
    return f"{100 * share:.2g} %" if abs(share) < 0.1 else f"{100 * share:.1f} %"


def duration(seconds: Any) -> str:
    """Seconds in words: 41 s, 3 min 20 s, 2 h 5 min."""
    value = number(seconds)
    if value is None:
        return NOTHING
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def count(value: Any) -> str:
    """1234567 -> "1,234,567"."""
    amount = number(value)
    return NOTHING if amount is None else f"{amount:,.0f}"


def compact(value: Any) -> str:
    """A number of any size, short: 0.5, 1e-06, 12.25."""
    amount = number(value)
    return NOTHING if amount is None else f"{amount:.4g}".replace("-", "−", 1 if amount < 0 else 0)
