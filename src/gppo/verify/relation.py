r"""Equations and inequalities: equal where one side minus the other is the same up to a factor.

``2x + 3y = 6`` is ``4x + 6y = 12``, ``y = 1 - x`` is ``x + y - 1 = 0``, and ``-x > -1`` is ``x < 1``.
"""

import re
from fractions import Fraction

from gppo.verify.equality import value_pairs
from gppo.verify.expression import Node, names_of
from gppo.verify.reader import read_expression

_OPERATOR = re.compile(r"\\(?:le|ge|ne|approx)(?![A-Za-z])|[<>=]")
_BRACES = re.compile(r"(?<!\\)\{[^{}]*\}")
_MIRRORED = {"<": ">", r"\le": r"\ge", ">": "<", r"\ge": r"\le"}


def operators_of(text: str) -> list[str]:
    r"""The relations of a text, in order; not those in braces, as in ``\sum_{k=1}``."""
    while (shorter := _BRACES.sub("", text)) != text:
        text = shorter
    return [match.group() for match in _OPERATOR.finditer(text)]


def same_relation(gold: str, predicted: str) -> bool | None:
    """Whether two relations are one, up to a factor and to where a term stands; None where that is not plain."""
    first, second = _difference(gold), _difference(predicted)
    if first is None or second is None:
        return None
    names = sorted(names_of(first[1]) | names_of(second[1]))
    if not names or names_of(first[1]) != names_of(second[1]):
        return None
    ratio = _common_ratio(first[1], second[1], names)
    if ratio is None:  # lines and planes with different equations differ; curves may yet be the same
        return False if _degree(first[1]) == _degree(second[1]) == 1 else None
    operator = first[0] if ratio > 0 else _MIRRORED.get(first[0], first[0])
    return operator == second[0]


def _difference(text: str) -> tuple[str, Node] | None:
    """A relation as (operator, left minus right)."""
    operators = operators_of(text)
    if len(operators) != 1 or operators == [r"\approx"]:
        return None
    sides = _OPERATOR.split(text)
    if len(sides) != 2:  # another one stands in braces
        return None
    left, right = (read_expression(side) for side in sides)
    if left is None or right is None:
        return None
    return operators[0], Node("+", (left, Node("-", (right,))))


def _degree(node: Node) -> int | None:
    """The degree of a polynomial, or None for what is none."""
    if node.kind in ("number", "constant"):
        return 0
    if node.kind == "name":
        return 1
    parts = [_degree(part) for part in node.parts]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    if node.kind in ("+", "-"):
        return max(known)
    if node.kind == "*":
        return sum(known)
    if not any(known):
        return 0
    return known[0] if node.kind == "/" and known[1] == 0 else None


def _common_ratio(first: Node, second: Node, names: list[str]) -> Fraction | float | None:
    """The constant factor between two trees, or None where there is none (or it cannot be told)."""
    previous, met = None, 0
    for pair in value_pairs(first, second, names):
        if pair.exact:
            if pair.first == 0 or pair.second == 0:
                return None
            ratio, slack = pair.second / pair.first, 0
        else:
            one, other = pair.evaluation.inexact(pair.first), pair.evaluation.inexact(pair.second)
            if min(abs(one), abs(other)) <= pair.noise:
                return None
            ratio = (other / one).real
            slack = abs(ratio) * 2.0**-200
        if previous is not None and abs(previous - ratio) > slack:
            return None
        previous, met = ratio, met + 1
    return previous if met >= 2 else None
