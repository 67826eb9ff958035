"""Whether two expressions have the same value, wherever their variables lie.

Variables are given several fixed values and both sides are evaluated. For polynomials and quotients of them that is a
proof but for a chance of about 1 in 10^12 (Schwartz-Zippel, https://en.wikipedia.org/wiki/Schwartz-Zippel_lemma): the
arithmetic is exact. Everything else is compared to 77 digits and more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from gppo.verify.expression import Node, contains, names_of
from gppo.verify.values import Evaluation, NoValueError

EXACT, NUMERIC, IDENTITY = "exact value", "numeric value", "identity"
_MANY_BITS = 8192
# Sizes for every taste: arcsin wants a number below one, the root of x^2 - 100 one above ten.
_SIZES = (3, 7, 11, 23, 47, 118, 290)
_ENOUGH = 2
_LARGE_PRIME = 1_000_003


@dataclass(frozen=True, slots=True)
class Pair:
    """Two values at one point.

    Args:
        first, second: Fractions, or numbers of mpmath.
        noise: below this a difference of inexact values means nothing.
        evaluation: how they came about.
    """

    first: Any
    second: Any
    noise: Any
    evaluation: Evaluation

    @property
    def exact(self) -> bool:
        """Whether both are fractions."""
        return isinstance(self.first, Fraction) and isinstance(self.second, Fraction)

    def equal(self, tolerance: Fraction | None = None) -> bool:
        """Whether they are equal, or differ by no more than ``tolerance``."""
        if self.exact:
            return self.first == self.second or (tolerance is not None and abs(self.first - self.second) <= tolerance)
        difference = abs(self.evaluation.inexact(self.first) - self.evaluation.inexact(self.second))
        bound = self.noise if tolerance is None else max(self.noise, self.evaluation.inexact(tolerance))
        return bool(difference <= bound)


def same_value(first: Node, second: Node, tolerance: Fraction | None = None) -> tuple[bool | None, str]:
    """Whether two trees are equal, and what decided; None where that cannot be told.

    ``tolerance`` is allowed between values without variables.
    """
    names = sorted(names_of(first) | names_of(second))
    bases = (None, 10) if _bare_log(first) or _bare_log(second) else (None,)  # books differ in what log means
    answers = [_same(first, second, names, base, tolerance) for base in bases]
    return max(answers, key=lambda answer: (answer[0] is True, answer[0] is False))


def value_pairs(first: Node, second: Node, names: list[str], log_base: int | None = None) -> Iterator[Pair]:
    """Both values at several points, those left out where one is undefined, or not real though i is nowhere written."""
    complex_numbers = contains(first, "constant", "i") or contains(second, "constant", "i")
    for point in range(2 * len(_SIZES) if names else 1):
        values = {name: _coordinate(index, point) for index, name in enumerate(names)}
        try:
            pair = _evaluate(first, second, values, log_base)
        except NoValueError:
            continue
        if names and not complex_numbers and not (_real(pair.first, pair.noise) and _real(pair.second, pair.noise)):
            continue
        yield pair


def _same(
    first: Node, second: Node, names: list[str], log_base: int | None, tolerance: Fraction | None
) -> tuple[bool | None, str]:
    met, exact = 0, True
    for pair in value_pairs(first, second, names, log_base):
        exact &= pair.exact
        if not pair.equal(None if names else tolerance):
            return False, _rule(names, exact)
        met += 1
    return (True if met >= (_ENOUGH if names else 1) else None), _rule(names, exact)


def _rule(names: list[str], exact: bool) -> str:
    return IDENTITY if names else EXACT if exact else NUMERIC


def _evaluate(first: Node, second: Node, values: dict[str, Fraction], log_base: int | None) -> Pair:
    bits = 512
    while True:
        evaluation = Evaluation(values, bits, log_base)
        one, other = evaluation.value(first), evaluation.value(second)
        if isinstance(one, Fraction) and isinstance(other, Fraction):
            return Pair(one, other, 0, evaluation)
        largest = max(abs(evaluation.inexact(one)), abs(evaluation.inexact(other)))
        if 4 * evaluation.finest <= bits:
            return Pair(one, other, evaluation.noise(largest), evaluation)
        if bits >= _MANY_BITS:
            raise NoValueError("too fine")
        bits = min(_MANY_BITS, 2 ** (4 * evaluation.finest).bit_length())


def _coordinate(index: int, point: int) -> Fraction:
    """A fraction that no answer has in mind; positive at the first half of the points, of either sign later."""
    size = _SIZES[(point + 2 * index) % len(_SIZES)]
    numerator = size * 100_000 + (7_919 * (index + 1) + 104_729 * (point + 1)) % 99_991
    negative = point >= len(_SIZES) and (point + index * (point - len(_SIZES))) % 2 == 0
    return Fraction(-numerator if negative else numerator, _LARGE_PRIME)


def _bare_log(node: Node) -> bool:
    if node.kind == "log" and len(node.parts) == 1:
        return True
    return any(_bare_log(part) for part in node.parts)


def _real(value: Any, noise: Any) -> bool:
    return isinstance(value, Fraction) or abs(value.imag) <= noise
