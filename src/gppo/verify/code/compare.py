"""Whether what a program gave is what a test expects. Runs outside the sandbox, on plain values."""

import json
import re
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

#: ``reward``: tolerant of white space and of what JSON cannot say. ``lcb``: as LiveCodeBench compares.
Mode = Literal["reward", "lcb"]

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,6})?", re.ASCII)


def same_text(output: str, expected: str, mode: Mode, tolerance: float = 0.0) -> bool:
    """Whether a program printed what is expected.

    Args:
        output, expected: whole texts.
        mode: ``lcb``: as many lines after stripping the whole, and each line, stripped, equal as text or as a sequence
            of decimal numbers (https://arxiv.org/abs/2403.07974). ``reward``: blank lines and runs of white space do
            not matter, and each token is equal as text or as a decimal number.
        tolerance: ``reward`` only: numbers may differ by this, or by this share of the expected one.
    """
    if output == expected:
        return True
    if mode == "lcb":
        given, wanted = ([line.strip() for line in text.strip().split("\n")] for text in (output, expected))
        return len(given) == len(wanted) and all(map(_same_decimals, given, wanted))
    given_rows, wanted_rows = ([row for row in map(str.split, text.split("\n")) if row] for text in (output, expected))
    return len(given_rows) == len(wanted_rows) and all(
        len(given) == len(wanted) and all(_same_token(*pair, tolerance) for pair in zip(given, wanted, strict=True))
        for given, wanted in zip(given_rows, wanted_rows, strict=True)
    )


def same_value(value: Any, expected: Any, mode: Mode, tolerance: float = 0.0) -> bool:
    """Whether a function returned what is expected.

    Args:
        value: a plain value: None, bool, int, float, str, list, tuple, dict, set.
        expected: a value that JSON can hold.
        mode: ``lcb``: a tuple at the top counts as a list, then ``==``. ``reward``: tuples count as lists at every
            depth, and a key that JSON would write as this text counts as this text.
        tolerance: as in ``same_text``.
    """
    try:
        if mode == "lcb":
            return bool((list(value) if isinstance(value, tuple) else value) == expected)
        return _same_plain(value, expected, tolerance)
    except (RecursionError, ValueError):  # nested, or integers longer, than any expected value can be
        return False


def _same_decimals(line: str, wanted: str) -> bool:
    if line == wanted:
        return True
    tokens, wanted_tokens = line.split(), wanted.split()
    if len(tokens) != len(wanted_tokens):  # decided before a long line costs a million conversions
        return False
    try:
        return all(Decimal(token) == Decimal(want) for token, want in zip(tokens, wanted_tokens, strict=True))
    except InvalidOperation:  # no number, or a signalling NaN
        return False


def _same_token(token: str, wanted: str, tolerance: float) -> bool:
    if token == wanted:
        return True
    if not (_NUMBER.fullmatch(token) and _NUMBER.fullmatch(wanted)):
        return False
    exact = Decimal(token) == Decimal(wanted)
    return exact or (tolerance > 0 and _close(float(token), float(wanted), tolerance))


def _same_plain(value: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, list):
        return (
            isinstance(value, list | tuple)
            and len(value) == len(expected)
            and all(_same_plain(item, want, tolerance) for item, want in zip(value, expected, strict=True))
        )
    if isinstance(expected, dict):
        named = {_json_key(key): item for key, item in value.items()} if isinstance(value, dict) else {}
        return (
            isinstance(value, dict)
            and len(value) == len(named)
            and named.keys() == expected.keys()
            and all(_same_plain(named[key], want, tolerance) for key, want in expected.items())
        )
    if tolerance and _is_number(value) and _is_number(expected):
        return value == expected or _close(value, expected, tolerance)
    return bool(value == expected)


def _json_key(key: Any) -> Any:
    return json.dumps(key) if key is None or isinstance(key, bool | int | float) else key


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _close(value: float, wanted: float, tolerance: float) -> bool:
    """|value - wanted| <= tolerance * max(1, |wanted|); never for infinities, NaN and integers no float can hold."""
    try:
        return abs(float(value) - float(wanted)) <= tolerance * max(1.0, abs(float(wanted))) < float("inf")
    except OverflowError:
        return False
