r"""Tuples, intervals, sets, lists and matrices: compared element by element, by the caller's own comparison."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain, product

MAX_ITEMS = 64
_MAX_SIGNS = 4

# Compares two elements: True, False, or None where it cannot tell.
Compare = Callable[[str, str], bool | None]

_OPENERS = frozenset(("(", "[", "{", r"\{", r"\langle", r"\begin"))
_CLOSERS = frozenset((")", "]", "}", r"\}", r"\rangle", r"\end"))
# Round and square brackets may close each other: [0, 1) is an interval.
_KIND = {"(": 0, ")": 0, "[": 0, "]": 0, "{": 1, "}": 1, r"\{": 2, r"\}": 2, r"\langle": 3, r"\rangle": 3}
_TOKEN = re.compile(r"\\(?:(?:langle|rangle|begin|end|cup|approx)(?![A-Za-z])|[{}])|[()\[\]{},;=]")
_OUTWARD = re.compile(r"\](?P<ends>[^\[\]]*)\[")
_MATRIX = re.compile(r"\\begin\{(?P<kind>[pbB]?(?:small)?matrix|array)\}(?P<body>.*)\\end\{(?P=kind)\}", re.DOTALL)
_COLUMNS = re.compile(r"\s*\{[lcr| ]*\}")


@dataclass(frozen=True, slots=True)
class Structure:
    """Elements between brackets.

    Args:
        brackets: "()", "[)" and so on; "{}" for a set; "" for a list without brackets; "2x3" for a matrix; "u" for a
            union.
        items: the elements as text, those of a matrix row by row.
    """

    brackets: str
    items: tuple[str, ...]

    @property
    def ordered(self) -> bool:
        """Whether the order of the elements counts: in tuples, intervals and matrices, not in sets and bare lists."""
        return self.brackets not in ("", "{}", "u")

    @property
    def vector(self) -> bool:
        """Whether this is a tuple or a matrix with one row or column, which write the same vector."""
        return self.brackets == "()" or self.brackets.startswith("1x") or self.brackets.endswith("x1")


def read_structure(text: str) -> Structure | None:
    """The structure of a normalised text, or None where it is a single value."""
    text = text.strip()
    outward = _OUTWARD.fullmatch(text)
    if outward:  # ]0, 1[ is what some countries write for (0, 1)
        text = f"({outward['ends']})"
    items = split_items(text)
    opener, closer = _outer_brackets(text) if len(items) == 1 else ("", "")
    if opener == "{":  # bare braces are invisible in LaTeX
        return read_structure(text[1:-1])
    if not opener:
        matrix = _MATRIX.fullmatch(text)
        if matrix:
            return _read_matrix(matrix["body"])
        union = split_top(text, r"\cup")
        if len(union) > 1:
            return Structure("u", tuple(union))
        spread = _spread(items)
        return Structure("", spread) if len(spread) > 1 else None
    inside = text[len(opener) : len(text) - len(closer)]
    if _MATRIX.fullmatch(inside.strip()):
        return read_structure(inside)
    items = split_items(inside)
    if opener == r"\{":
        return Structure("{}", _spread(items))
    round_angles = {r"\langle": "(", r"\rangle": ")"}
    brackets = round_angles.get(opener, opener) + round_angles.get(closer, closer)
    return Structure(brackets, tuple(items)) if len(items) > 1 else None


def split_items(text: str) -> list[str]:
    """The parts between commas that no bracket encloses, of semicolons where there are any; else the whole text."""
    groups = split_top(text, ";")
    return groups if len(groups) > 1 else split_top(text, ",")


def split_top(text: str, *separators: str) -> list[str]:
    """The parts between separators that no bracket encloses; the whole text where brackets do not match."""
    parts, start, open_brackets = [], 0, 0
    for token in _TOKEN.finditer(text):
        sign = token.group()
        if sign in _OPENERS:
            open_brackets += 1
        elif sign in _CLOSERS:
            open_brackets -= 1
        elif sign in separators and open_brackets == 0:
            parts.append(text[start : token.start()].strip())
            start = token.end()
        if open_brackets < 0:
            return [text]
    parts.append(text[start:].strip())
    return [text] if open_brackets or not all(parts) else parts


def _read_matrix(body: str) -> Structure | None:
    rows = [row for row in re.split(r"\\\\(?![A-Za-z]{2})", _COLUMNS.sub("", body, count=1)) if row.strip()]
    cells = [[cell.strip() for cell in row.split("&")] for row in rows]
    if not cells or any(len(row) != len(cells[0]) for row in cells) or "matrix" in body or "array" in body:
        return None
    return Structure(f"{len(cells)}x{len(cells[0])}", tuple(chain.from_iterable(cells)))


def _outer_brackets(text: str) -> tuple[str, str]:
    """The bracket that opens the text and the one that closes it, where these two belong together."""
    tokens = [
        token for token in _TOKEN.finditer(text) if token.group() in _KIND or token.group() in (r"\begin", r"\end")
    ]
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
    r"""Write ``1 \pm 2`` as the two values that it stands for; several signs are free, unless ``\mp`` ties them."""
    spread: list[str] = []
    for item in items:
        signs = len(re.findall(r"\\pm(?![A-Za-z])", item))
        if not signs or signs > _MAX_SIGNS:
            spread.append(item)
            continue
        if r"\mp" in item:
            for plus, minus in ("+-", "-+"):
                spread.append(_signed(item.replace(r"\mp", minus), (plus,) * signs))
            continue
        spread.extend(_signed(item, choice) for choice in product("+-", repeat=signs))
    return tuple(spread)


def _signed(item: str, signs: tuple[str, ...]) -> str:
    for sign in signs:
        item = item.replace(r"\pm", sign, 1)
    return item.lstrip("+ ")


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
        return False if bare_list else None  # an interval may meet an inequality, a matrix a product
    differ = bool(gold.brackets and predicted.brackets and gold.brackets != predicted.brackets)
    if differ and not (gold.vector and predicted.vector):
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
