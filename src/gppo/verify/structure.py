r"""Tuples, intervals, sets and lists: compared element by element, each element by the caller's own comparison."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain

MAX_ITEMS = 64

# Compares two elements: True, False, or None where it cannot tell.
Compare = Callable[[str, str], bool | None]

_OPENERS = frozenset(("(", "[", "{", r"\{", r"\langle", r"\begin"))
_CLOSERS = frozenset((")", "]", "}", r"\}", r"\rangle", r"\end"))
# Round and square brackets may close each other: [0, 1) is an interval.
_KIND = {"(": 0, ")": 0, "[": 0, "]": 0, "{": 1, "}": 1, r"\{": 2, r"\}": 2, r"\langle": 3, r"\rangle": 3}
_TOKEN = re.compile(r"\\(?:langle|rangle|begin|end|[{}])|[()\[\]{},;]")
_NAME = r"[A-Za-z](?:_\{?\w+\}?)?(?:\([A-Za-z0-9]\))?"
_PREFIX = re.compile(
    rf"\s*(?P<name>\(?\s*(?:{_NAME}|[A-Z]{{2,3}})(?:\s*,\s*{_NAME})*\s*\)?)"
    r"\s*(?:=|\\in(?![A-Za-z])|\\approx)\s*(?P<rest>[^=]+)"
)


@dataclass(frozen=True, slots=True)
class Structure:
    """Elements between brackets.

    Args:
        brackets: "()", "[)" and so on; "{}" for a set; "" for a list without brackets.
        items: the elements as text.
    """

    brackets: str
    items: tuple[str, ...]

    @property
    def ordered(self) -> bool:
        """Whether the order of the elements counts: in tuples and intervals, not in sets and bare lists."""
        return self.brackets not in ("", "{}")


def split_prefix(text: str) -> tuple[str, str]:
    r"""The name and the value of ``x = 5``, ``(p, q) = (3, 2)`` or ``x \in [0, 1]``; name "" for any other text."""
    match = _PREFIX.fullmatch(text)
    return (re.sub(r"[\s{}]", "", match["name"]), match["rest"].strip()) if match else ("", text)


def read_structure(text: str) -> Structure | None:
    """The structure of a normalised text, or None where it is a single value."""
    text = text.strip()
    items = split_items(text)
    opener, closer = _outer_brackets(text) if len(items) == 1 else ("", "")
    if opener == "{":  # bare braces are invisible in LaTeX
        return read_structure(text[1:-1])
    if not opener:
        spread = _spread(items)
        return Structure("", spread) if len(spread) > 1 else None
    items = split_items(text[len(opener) : len(text) - len(closer)])
    if opener == r"\{":
        return Structure("{}", _spread(items))
    round_angles = {r"\langle": "(", r"\rangle": ")"}
    brackets = round_angles.get(opener, opener) + round_angles.get(closer, closer)
    return Structure(brackets, tuple(items)) if len(items) > 1 else None


def split_items(text: str) -> list[str]:
    """The parts between commas and semicolons that no bracket encloses; the whole text where brackets do not match."""
    parts, start, open_brackets = [], 0, 0
    for token in _TOKEN.finditer(text):
        sign = token.group()
        if sign in _OPENERS:
            open_brackets += 1
        elif sign in _CLOSERS:
            open_brackets -= 1
        elif open_brackets == 0:
            parts.append(text[start : token.start()].strip())
            start = token.end()
        if open_brackets < 0:
            return [text]
    parts.append(text[start:].strip())
    return [text] if open_brackets or not all(parts) else parts


def _outer_brackets(text: str) -> tuple[str, str]:
    """The bracket that opens the text and the one that closes it, where these two belong together."""
    tokens = [token for token in _TOKEN.finditer(text) if token.group() not in ",;"]
    if not tokens or tokens[0].start() != 0 or tokens[-1].end() != len(text):
        return "", ""
    depth = 0
    for token in tokens:
        depth += 1 if token.group() in _OPENERS else -1
        if depth <= 0 and token is not tokens[-1]:
            return "", ""
    opener, closer = tokens[0].group(), tokens[-1].group()
    fits = _KIND.get(opener) is not None and _KIND.get(opener) == _KIND.get(closer)
    return (opener, closer) if depth == 0 and fits else ("", "")


def _spread(items: Iterable[str]) -> tuple[str, ...]:
    r"""Write ``1 \pm 2`` as the two values that it stands for."""
    spread: list[str] = []
    for item in items:
        if r"\pm" in item:
            spread.append(item.replace(r"\pm", "+").replace(r"\mp", "-").lstrip("+ "))
            spread.append(item.replace(r"\pm", "-").replace(r"\mp", "+"))
        else:
            spread.append(item)
    return tuple(spread)


def compare_structures(gold: Structure | None, predicted: Structure | None, same: Compare) -> bool | None:
    r"""Compare two structures; None where neither is one, or where ``same`` could not tell.

    Brackets count when both are written: ``(1, 2)`` is neither ``[1, 2]`` nor ``\{1, 2\}``. Where one side leaves
    them out, ``1, 2`` may stand for a tuple in that order or for a set in any.
    """
    if gold is None and predicted is None:
        return None
    if gold is None or predicted is None:
        alone = gold or predicted
        bare_list = alone is not None and not alone.brackets
        return False if bare_list else None  # an interval may meet an inequality, a set its only element
    if gold.brackets and predicted.brackets and gold.brackets != predicted.brackets:
        return False
    if max(len(gold.items), len(predicted.items)) > MAX_ITEMS:
        return None
    if gold.ordered or predicted.ordered:
        if len(gold.items) != len(predicted.items):
            return False
        return _all(same(a, b) for a, b in zip(gold.items, predicted.items, strict=True))
    # As sets: each element is found on the other side, and a repeated one counts once.
    return _all(
        chain(
            (_any(same(other, item) for other in gold.items) for item in predicted.items),
            (_any(same(item, other) for other in predicted.items) for item in gold.items),
        )
    )


def _all(results: Iterable[bool | None]) -> bool | None:
    unknown = False
    for result in results:
        if result is False:
            return False
        unknown |= result is None
    return None if unknown else True


def _any(results: Iterable[bool | None]) -> bool | None:
    unknown = False
    for result in results:
        if result:
            return True
        unknown |= result is None
    return None if unknown else False
