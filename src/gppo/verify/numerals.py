"""Numbers that are no expressions: ratios, times of day, numerals with a base, decimals with many digits."""

import re
from fractions import Fraction

_MAX_CHARS = 400
_DECIMAL = re.compile(r"[-+]?\d*\.\d+")
_CLOCK = re.compile(r"\s*(?:[01]?\d|2[0-4]):[0-5]\d\s*(?P<more>[^\d:]*)")
_RATIO_SIGN = re.compile(r":|\\colon\b|\sto\s")
_RATIO_PART = re.compile(r"\s*(\d+(?:\.\d+)?|\\frac\{\d+\}\{\d+\}|\d+/\d+)\s*")
_BASE_NUMERAL = re.compile(r"\(?([0-9A-Za-z.]+)\)?_(?:\{(\d{1,2})\}|(\d))")
_COMMA_DECIMAL = re.compile(r"([-+]?\d+),(\d+)")


def ratio_values(text: str) -> tuple[Fraction, ...] | None:
    """The parts of ``a:b`` or ``a:b:c``, or None for any other text."""
    if len(text) > _MAX_CHARS:
        return None
    parts = [_RATIO_PART.fullmatch(part) for part in _RATIO_SIGN.split(text)]
    if len(parts) < 2:
        return None
    values = [_fraction(part[1]) for part in parts if part]
    return tuple(values) if len(values) == len(parts) and all(values) else None


def _fraction(text: str) -> Fraction:
    digits = [Fraction(number) for number in re.findall(r"\d+(?:\.\d+)?", text)]
    return digits[0] if len(digits) == 1 or not digits[1] else digits[0] / digits[1]


def same_ratio(first: tuple[Fraction, ...], second: tuple[Fraction, ...]) -> bool:
    """Whether two ratios are the same up to a common factor."""
    return len(first) == len(second) and all(a * second[0] == b * first[0] for a, b in zip(first, second, strict=True))


def is_clock_time(text: str) -> bool:
    """Whether the text may be a time of day, such as ``4:30``, whatever words follow it."""
    return bool(_CLOCK.fullmatch(text))


def base_numeral(text: str) -> tuple[str, str] | None:
    """Digits and base of ``1011_2``; base "" where none is written; None for any other text. Base ten says nothing."""
    match = _BASE_NUMERAL.fullmatch(text)
    if match:
        base = match[2] or match[3]
        if not match[1][0].isdigit() and any(int(digit, 36) >= int(base) for digit in match[1] if digit != "."):
            return None  # a_1 is a name
        return match[1].lstrip("0").upper(), "" if base == "10" else base
    return (text.lstrip("0").upper(), "") if re.fullmatch(r"\d+", text) else None


def decimal_comma(text: str) -> str:
    """``2,74`` as a number with a point; "" where the comma may not be a decimal one."""
    match = _COMMA_DECIMAL.fullmatch(text)
    return f"{match[1]}.{match[2]}" if match else ""


def last_digit(text: str, at_least: int = 12) -> Fraction | None:
    """One unit in the last place of a decimal number that carries ``at_least`` significant digits, else None.

    So many digits are never an estimate: such a number may stand for the exact value that it rounds to.
    """
    text = text.strip()
    if len(text) > _MAX_CHARS or not _DECIMAL.fullmatch(text):
        return None
    digits = text.lstrip("+-").replace(".", "").lstrip("0")
    return Fraction(1, 10 ** len(text.split(".")[1])) if len(digits) >= at_least else None
