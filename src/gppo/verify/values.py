"""The value of an expression: an exact fraction where it has one, else a number of as many digits as it takes.

Every step is bounded in size, so no text can make this slow or large. Numbers that are no fractions have 512 bits, and
more where the expression itself holds finer ones, so that pi and pi + 10^-50 never meet through rounding.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath

from gppo.verify.expression import FUNCTIONS, Node

_MAX_BITS = 20_000
_MAX_FACTORIAL = 1_000
_LEAST_BITS, _MOST_BITS = 512, 8192
_MAX_EXPONENT = 100_000

Value = Any  # Fraction, or a real or complex number of mpmath, which has no types


class NoValueError(ValueError):
    """The expression has no value here: undefined, too large, or a name without one."""


@cache
def _numbers(bits: int) -> Any:
    """Arithmetic with this many bits. Nothing changes its precision later, so threads may share it."""
    context = mpmath.MPContext()
    context.prec = bits
    return context


@dataclass
class Evaluation:
    """Evaluates trees to one precision.

    Args:
        names: values of the variables.
        bits: precision of numbers that are no fractions.
        log_base: what ``\\log`` without a base means, None for the natural logarithm.
        finest: bits of the largest numerator or denominator that met an inexact number so far.
        largest: the largest absolute value among inexact terms that were added so far.
    """

    names: Mapping[str, Fraction] = field(default_factory=dict)
    bits: int = _LEAST_BITS
    log_base: int | None = None
    finest: int = 0
    largest: Any = 0

    def value(self, node: Node) -> Value:
        """The value of a tree. Raises NoValueError."""
        try:
            return self._value(node)
        except (ZeroDivisionError, OverflowError, ValueError, mpmath.libmp.NoConvergence) as error:
            raise NoValueError(str(error)) from error

    def inexact(self, value: Value) -> Any:
        """The value as a number of mpmath."""
        numbers = _numbers(self.bits)
        if not isinstance(value, Fraction):
            return value
        self.finest = max(self.finest, value.numerator.bit_length(), value.denominator.bit_length())
        return numbers.mpf(value.numerator) / value.denominator

    def _value(self, node: Node) -> Value:
        if node.kind == "number":
            return node.value
        if node.kind == "name":
            if node.text not in self.names:
                raise NoValueError(node.text)
            return self.names[node.text]
        if node.kind == "constant":
            return self._constant(node.text)
        parts = [self._value(part) for part in node.parts]
        if node.kind in FUNCTIONS:
            value = self._function(node.kind, *parts)
        else:
            value = _OPERATIONS[node.kind](self, *parts)
        if isinstance(value, Fraction):
            if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
                raise NoValueError("too large")
        elif not _numbers(self.bits).isfinite(value):
            raise NoValueError("not finite")
        return value

    def _constant(self, name: str) -> Value:
        numbers = _numbers(self.bits)
        if name == "i":
            return numbers.mpc(0, 1)
        return +numbers.pi if name == "pi" else +numbers.e

    def _add(self, *terms: Value) -> Value:
        if all(isinstance(term, Fraction) for term in terms):
            return sum(terms, Fraction(0))
        total: Any = 0
        for term in terms:
            number = self.inexact(term)
            self.largest = max(self.largest, abs(number))
            total = total + number
        return total

    def _multiply(self, first: Value, second: Value) -> Value:
        if isinstance(first, Fraction) and isinstance(second, Fraction):
            return first * second
        return self.inexact(first) * self.inexact(second)

    def _divide(self, first: Value, second: Value) -> Value:
        if isinstance(first, Fraction) and isinstance(second, Fraction):
            return first / second
        below = self.inexact(second)
        if abs(below) <= self.noise(below):
            raise NoValueError("division by nothing")
        return self.inexact(first) / below

    def noise(self, value: Any = 0) -> Any:
        """What is left of a sum that is zero: below this an inexact value cannot be told from zero."""
        return max(self.largest, abs(value)) * _numbers(self.bits).mpf(2) ** (-self.bits // 2)

    def _power(self, base: Value, exponent: Value) -> Value:
        if isinstance(exponent, Fraction) and exponent.denominator == 1:
            return self._whole_power(base, int(exponent))
        if isinstance(exponent, Fraction) and isinstance(base, Fraction) and exponent.denominator <= 64:
            exact = _exact_root(base, exponent.denominator)
            if exact is not None:
                return self._whole_power(exact, exponent.numerator)
        number, raised = self.inexact(base), self.inexact(exponent)
        if number == 0 or abs(raised) * abs(_numbers(self.bits).log(abs(number))) > _MAX_EXPONENT:
            raise NoValueError("too large")
        return number**raised

    def _whole_power(self, base: Value, exponent: int) -> Value:
        if not isinstance(base, Fraction):
            if abs(exponent) > _MAX_EXPONENT:
                raise NoValueError("too large")
            return base**exponent
        if base == 0 and exponent <= 0:
            raise NoValueError("undefined")
        if abs(exponent) * max(base.numerator.bit_length(), base.denominator.bit_length()) > _MAX_BITS:
            raise NoValueError("too large")
        return base**exponent

    def _root(self, degree: Value, value: Value) -> Value:
        if not isinstance(degree, Fraction) or degree.denominator != 1 or not 1 <= degree <= 64:
            raise NoValueError("degree of a root")
        if isinstance(value, Fraction):
            exact = _exact_root(value, int(degree))
            if exact is not None:
                return exact
            if value < 0 and degree % 2:
                return -(self.inexact(-value) ** self.inexact(1 / degree))
        return _numbers(self.bits).root(self.inexact(value), int(degree))

    def _absolute(self, value: Value) -> Value:
        return abs(value)

    def _factorial(self, value: Value) -> Fraction:
        return Fraction(math.factorial(_small(value)))

    def _binomial(self, above: Value, below: Value) -> Fraction:
        return Fraction(math.comb(_small(above), _small(below)))

    def _whole(self, rounded: Callable[[Any], Any], value: Value) -> Fraction:
        if isinstance(value, Fraction):
            return Fraction(rounded(value))
        numbers = _numbers(self.bits)
        if isinstance(value, numbers.mpc) or abs(value) > 2**_LEAST_BITS // 4:
            raise NoValueError("not real")
        if abs(value - numbers.nint(value)) <= self.noise(value):
            raise NoValueError("perhaps whole")
        return Fraction(int(numbers.floor(value)) + (rounded is math.ceil))

    def _function(self, name: str, *arguments: Value) -> Value:
        numbers, argument = _numbers(self.bits), arguments[-1]
        if name in ("ln", "log", "lg"):
            return self._logarithm(name, *arguments)
        if argument == 0 and name in ("sin", "tan", "sinh", "tanh", "arcsin", "arctan"):
            return Fraction(0)
        if argument == 0 and name in ("cos", "cosh", "exp", "sec"):
            return Fraction(1)
        number = self.inexact(argument)
        if abs(number) > _MAX_EXPONENT:
            raise NoValueError("too large")
        result = getattr(numbers, {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}.get(name, name))(number)
        if name in ("sin", "cos", "tan"):  # a value that is zero in truth must count as one in what follows
            self.largest = max(self.largest, 1)
        return result

    def _logarithm(self, name: str, *arguments: Value) -> Value:
        numbers = _numbers(self.bits)
        number = self.inexact(arguments[-1])
        if abs(number) <= self.noise():
            raise NoValueError("logarithm of nothing")
        base = Fraction(10) if name == "lg" else None
        if name == "log" and self.log_base:
            base = Fraction(self.log_base)
        if len(arguments) == 2:
            base = arguments[0]
        self.largest = max(self.largest, 1)  # the logarithm of one is zero
        natural = numbers.log(number)
        return natural if base is None else self._divide(natural, numbers.log(self.inexact(base)))


_OPERATIONS: dict[str, Callable[..., Value]] = {
    "+": Evaluation._add,
    "-": lambda _, value: -value,
    "*": Evaluation._multiply,
    "/": Evaluation._divide,
    "^": Evaluation._power,
    "!": Evaluation._factorial,
    "root": Evaluation._root,
    "abs": Evaluation._absolute,
    "binomial": Evaluation._binomial,
    "floor": lambda evaluation, value: evaluation._whole(math.floor, value),
    "ceil": lambda evaluation, value: evaluation._whole(math.ceil, value),
}


def _exact_root(value: Fraction, degree: int) -> Fraction | None:
    """The root where it is a fraction, of a negative value only where the degree is odd."""
    if degree == 1:
        return value
    if value < 0:
        root = _exact_root(-value, degree) if degree % 2 else None
        return None if root is None else -root
    above, below = _whole_root(value.numerator, degree), _whole_root(value.denominator, degree)
    return None if above is None or below is None else Fraction(above, below)


def _whole_root(value: int, degree: int) -> int | None:
    if degree == 2:
        root = math.isqrt(value)
    else:
        low, high = 0, 1 << (value.bit_length() // degree + 1)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if middle**degree <= value else (low, middle - 1)
        root = low
    return root if root**degree == value else None


def _small(value: Value) -> int:
    if not isinstance(value, Fraction) or value.denominator != 1 or not 0 <= value <= _MAX_FACTORIAL:
        raise NoValueError("not a small whole number")
    return int(value)
