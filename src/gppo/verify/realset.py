r"""Sets of real numbers: ``(0,1) \cup [2,3)``, ``-1 \le x < 4``, ``x \ne 3``, ``\mathbb{R} \setminus \{0\}``.

Each becomes a sorted list of pieces, touching pieces merged, so that two ways of writing one set meet.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from gppo.verify.expression import names_of
from gppo.verify.prefix import NAME
from gppo.verify.reader import read_expression
from gppo.verify.structure import split_items, split_top
from gppo.verify.values import Evaluation, NoValueError

_INFINITE = re.compile(r"([-+]?)\s*\\infty")
_RELATION = re.compile(r"\\(?:le|ge|ne)(?![A-Za-z])|[<>=]")
_MEMBER = re.compile(rf"\s*{NAME}\s*\\in(?![A-Za-z])")
_ALL = re.compile(r"\\mathbb\s*\{?\s*R\s*\}?|\\Re|all real numbers?|all reals", re.IGNORECASE)
_ALL_WITHOUT = re.compile(r"(?:\\mathbb\s*\{?\s*R\s*\}?)\s*(?:\\setminus|\\backslash|-)\s*(?P<out>\\\{.*\\\})")
_BARE_NAME = re.compile(rf"\s*{NAME}\s*")
_MIRRORED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": r"\ne", "=": "="}
_INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Piece:
    """The numbers from ``low`` to ``high``; infinite ends are open."""

    low: Any
    low_closed: bool
    high: Any
    high_closed: bool

    @property
    def empty(self) -> bool:
        """Whether no number lies in it."""
        if _same(self.low, self.high):
            return not (self.low_closed and self.high_closed)
        return bool(self.low > self.high)


RealSet = tuple[Piece, ...]
_LINE = (Piece(-_INFINITY, False, _INFINITY, False),)


def is_plainly_a_set(text: str) -> bool:
    """Whether a text can only be a set of numbers, and no tuple or single value."""
    return bool(re.search(r"\\(?:cup|le|ge|ne|infty|mathbb|setminus|in)(?![A-Za-z])|[<>]|all real", text))


def read_real_set(text: str) -> RealSet | None:
    """The set of a normalised text, or None where it is no set of real numbers with known ends."""
    try:
        return _read(_MEMBER.sub("", text).strip())
    except (NoValueError, RecursionError):
        return None


def same_set(first: RealSet, second: RealSet) -> bool:
    """Whether two sets hold the same numbers."""
    return len(first) == len(second) and all(
        _same(a.low, b.low) and _same(a.high, b.high) and (a.low_closed, a.high_closed) == (b.low_closed, b.high_closed)
        for a, b in zip(first, second, strict=True)
    )


def _read(text: str) -> RealSet | None:
    if _ALL.fullmatch(text):
        return _LINE
    without = _ALL_WITHOUT.fullmatch(text)
    if without:
        points = _points(without["out"])
        return None if points is None else _intersect_all(_all_but(point) for point in points)
    parts = split_top(text, r"\cup")
    if len(parts) > 1:
        sets = [_read(part) for part in parts]
        return None if any(part is None for part in sets) else _merge(piece for part in sets for piece in part or ())
    if text.startswith(r"\{"):
        points = _points(text)
        return None if points is None else _merge(Piece(point, True, point, True) for point in points)
    if _RELATION.search(text):
        return _relations(text)
    return _interval(text)


def _interval(text: str) -> RealSet | None:
    if text[:1] not in ("(", "[") or text[-1:] not in (")", "]"):
        return None
    ends = split_items(text[1:-1])
    if len(ends) != 2:
        return None
    low, high = _end(ends[0]), _end(ends[1])
    piece = Piece(low, text[0] == "[" and low != -_INFINITY, high, text[-1] == "]" and high != _INFINITY)
    return None if piece.empty else (piece,)


def _relations(text: str) -> RealSet | None:
    """One relation or several with commas: all of them together where that leaves something, else any of them."""
    found: list[RealSet] = []
    names: set[str] = set()
    for item in split_items(text):
        operators = [match.group() for match in _RELATION.finditer(item)]
        sides = _RELATION.split(item)
        middle = [i for i, side in enumerate(sides) if _BARE_NAME.fullmatch(side)]
        if len(middle) != 1 or not 1 <= len(operators) <= 2 or (len(sides) == 3 and middle != [1]):
            return None
        names.add(re.sub(r"[\s{}]", "", sides[middle[0]]))
        if len(names) > 1 or operators == ["="]:
            return None
        halves = []
        if middle[0] == 1:
            halves.append(_half_line(_MIRRORED[operators[0]], sides[0]))
        if middle[0] + 1 < len(sides):
            halves.append(_half_line(operators[-1], sides[-1]))
        found.append(_intersect_all(halves))
    return _intersect_all(found) or _merge(piece for part in found for piece in part)


def _half_line(operator: str, bound: str) -> RealSet:
    """The numbers that stand in this relation to a bound on their right."""
    value = _end(bound)
    if operator == r"\ne":
        return _all_but(value)
    if operator == "=":
        return (Piece(value, True, value, True),)
    closed = operator in (r"\le", r"\ge") and abs(value) != _INFINITY
    if operator in ("<", r"\le"):
        return (Piece(-_INFINITY, False, value, closed),)
    return (Piece(value, closed, _INFINITY, False),)


def _all_but(value: Any) -> RealSet:
    return (Piece(-_INFINITY, False, value, False), Piece(value, False, _INFINITY, False))


def _points(text: str) -> list[Any] | None:
    if not (text.startswith(r"\{") and text.endswith(r"\}")):
        return None
    return [_end(item) for item in split_items(text[2:-2])]


def _end(text: str) -> Any:
    infinite = _INFINITE.fullmatch(text.strip())
    if infinite:
        return -_INFINITY if infinite[1] == "-" else _INFINITY
    node = read_expression(text)
    if node is None or names_of(node):
        raise NoValueError(text)
    evaluation = Evaluation()
    value = evaluation.inexact(evaluation.value(node))
    if abs(value.imag) > evaluation.noise(value):
        raise NoValueError("not real")
    return value.real


def _same(first: Any, second: Any) -> bool:
    if first == second:
        return True
    if _INFINITY in (abs(first), abs(second)):
        return False
    return bool(abs(first - second) <= 2.0**-300 * max(abs(first), abs(second), 2.0**-300))


def _merge(pieces: Iterable[Piece]) -> RealSet:
    """The union, sorted; pieces that touch become one."""
    merged: list[Piece] = []
    for piece in sorted(
        (piece for piece in pieces if not piece.empty), key=lambda piece: (piece.low, not piece.low_closed)
    ):
        last = merged[-1] if merged else None
        touching = last is not None and (
            piece.low < last.high or (_same(piece.low, last.high) and (piece.low_closed or last.high_closed))
        )
        if last is None or not touching:
            merged.append(piece)
            continue
        if _same(piece.high, last.high):
            high, closed = last.high, last.high_closed or piece.high_closed
        else:
            high, closed = max((last.high, last.high_closed), (piece.high, piece.high_closed))
        merged[-1] = Piece(last.low, last.low_closed, high, closed)
    return tuple(merged)


def _intersect_all(sets: Iterable[RealSet]) -> RealSet:
    result: RealSet = _LINE
    for other in sets:
        result = _merge(_intersect(a, b) for a in result for b in other)
    return result


def _intersect(first: Piece, second: Piece) -> Piece:
    if _same(first.low, second.low):
        low, low_closed = first.low, first.low_closed and second.low_closed
    else:
        low, low_closed = max((first.low, first.low_closed), (second.low, second.low_closed))
    if _same(first.high, second.high):
        high, high_closed = first.high, first.high_closed and second.high_closed
    else:
        high, high_closed = min((first.high, first.high_closed), (second.high, second.high_closed))
    return Piece(low, low_closed, high, high_closed)
