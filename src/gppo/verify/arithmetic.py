r"""The exact value of plain arithmetic: ``\frac{3}{4}``, ``0.\overline{3}``, ``2^{10} \cdot 5!``, ``1\frac{4}{5}``.

Values are ``fractions.Fraction``, so no two different numbers ever meet through rounding. Every step is bounded in
depth and size, which makes this safe in the calling process: what is too large or not arithmetic has no value here.
"""

import math
import re
from fractions import Fraction

MAX_CHARS = 400
_MAX_DEPTH = 40
_MAX_BITS = 20_000
_MAX_FACTORIAL = 1_000

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:\\overline\s*\{\s*\d+\s*\})?(?:[eE][-+]?\d{1,4}(?![\d.]))?)"
    r"|(?P<sign>\\frac|\\binom|\\sqrt|\\cdot|\\times|\\div|\*\*|[-+*/^!%(){}]))"
)
_NUMBER = re.compile(
    r"(?P<whole>\d*)\.?(?P<decimals>\d*)(?:\\overline\s*\{\s*(?P<period>\d+)\s*\})?(?:[eE](?P<power>.+))?"
)
_DECIMAL = re.compile(r"[-+]?\d*\.\d+")
_CLOCK = re.compile(r"\s*(?:[01]?\d|2[0-4]):[0-5]\d\s*")
_RATIO = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?::|\\colon\b|\sto\s)\s*(\d+(?:\.\d+)?)\s*")


class NotArithmetic(ValueError):
    """The text is not plain arithmetic, or its value would be too large."""


def exact_value(text: str) -> Fraction | None:
    """The value of a normalised text, or None where it is not plain arithmetic within bounds."""
    if len(text) > MAX_CHARS:
        return None
    try:
        return _Reader(text).read()
    except (NotArithmetic, ZeroDivisionError):
        return None


def ratio_value(text: str) -> Fraction | None:
    """The value of ``a:b``, or None for any other text; ``12:00`` is no ratio."""
    match = _RATIO.fullmatch(text) if len(text) <= MAX_CHARS else None
    if not match or not Fraction(match.group(2)):
        return None
    return Fraction(match.group(1)) / Fraction(match.group(2))


def is_clock_time(text: str) -> bool:
    """Whether the text may be a time of day, such as ``4:30``."""
    return bool(_CLOCK.fullmatch(text))


def last_digit(text: str, at_least: int = 12) -> Fraction | None:
    """One unit in the last place of a decimal number that carries ``at_least`` significant digits, else None.

    So many digits are never an estimate: such a number may stand for the exact value that it rounds to.
    """
    text = text.strip()
    if len(text) > MAX_CHARS or not _DECIMAL.fullmatch(text):
        return None
    digits = text.lstrip("+-").replace(".", "").lstrip("0")
    return Fraction(1, 10 ** len(text.split(".")[1])) if len(digits) >= at_least else None


class _Reader:
    """Recursive descent: sum -> product -> signed -> power -> postfix -> atom."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if not match:
                raise NotArithmetic(text)
            self._tokens.append(match.group().strip())
            position = match.end()
        self._at = 0
        self._depth = 0

    def read(self) -> Fraction:
        value = self._sum()
        if self._at < len(self._tokens):
            raise NotArithmetic(self._next)
        return value

    @property
    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _take(self, *signs: str) -> str:
        sign = self._next
        if sign not in signs:
            return ""
        self._at += 1
        return sign

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise NotArithmetic(sign)

    def _sum(self) -> Fraction:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise NotArithmetic("too deep")
        value = self._product()
        while sign := self._take("+", "-"):
            term = self._product()
            value = _bounded(value + term if sign == "+" else value - term)
        self._depth -= 1
        return value

    def _product(self) -> Fraction:
        value = self._signed()
        while True:
            if self._take("*", r"\cdot", r"\times"):
                value = _bounded(value * self._signed())
            elif self._take("/", r"\div"):
                value = _bounded(value / self._signed())
            elif self._next in ("(", r"\frac", r"\sqrt", r"\binom", "{"):
                value = _bounded(value * self._power())
            else:
                return value

    def _signed(self) -> Fraction:
        negative = False
        while sign := self._take("+", "-"):
            negative ^= sign == "-"
        value = self._power()
        return -value if negative else value

    def _power(self) -> Fraction:
        base = self._postfix()
        if not self._take("^", "**"):
            return base
        exponent = self._group() if self._next == "{" else self._signed()
        return _power(base, exponent)

    def _postfix(self) -> Fraction:
        value = self._atom()
        while sign := self._take("!", "%"):
            value = value / 100 if sign == "%" else Fraction(math.factorial(_small(value)))
        return value

    def _atom(self) -> Fraction:
        if self._take("("):
            value = self._sum()
            self._need(")")
            return value
        if self._next == "{":
            return self._group()
        if self._take(r"\frac"):
            return _bounded(self._group() / self._group())
        if self._take(r"\binom"):
            return Fraction(math.comb(_small(self._group()), _small(self._group())))
        if self._take(r"\sqrt"):
            return _square_root(self._group())
        return self._number()

    def _number(self) -> Fraction:
        token = self._next
        if not token or not (token[0].isdigit() or token[0] == "."):
            raise NotArithmetic(token)
        self._at += 1
        value = _number(token)
        mixed = self._tokens[self._at : self._at + 7]
        if token.isdigit() and mixed[:2] == [r"\frac", "{"] and len(mixed) == 7 and mixed[2].isdigit():
            part = self._atom()  # 1\frac{4}{5} is one and four fifths
            if mixed[5].isdigit() and mixed[6] == "}":
                return value + part
            raise NotArithmetic(token)
        return value

    def _group(self) -> Fraction:
        self._need("{")
        value = self._sum()
        self._need("}")
        return value


def _number(token: str) -> Fraction:
    match = _NUMBER.fullmatch(token)
    if not match:
        raise NotArithmetic(token)
    decimals, period = match["decimals"], match["period"]
    scale = 10 ** len(decimals)
    value = Fraction(int((match["whole"] or "0") + decimals), scale)
    if period:
        value += Fraction(int(period), scale * (10 ** len(period) - 1))
    return value * _power(Fraction(10), Fraction(int(match["power"]))) if match["power"] else value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or (base == 0 and exponent <= 0):
        raise NotArithmetic("not a whole power")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(exponent) * bits > _MAX_BITS:
        raise NotArithmetic("too large")
    return base ** int(exponent)


def _square_root(value: Fraction) -> Fraction:
    if value < 0:
        raise NotArithmetic("not real")
    root = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
    if root * root != value:
        raise NotArithmetic("not rational")
    return root


def _small(value: Fraction) -> int:
    if value.denominator != 1 or not 0 <= value <= _MAX_FACTORIAL:
        raise NotArithmetic("not a small whole number")
    return int(value)


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        raise NotArithmetic("too large")
    return value
