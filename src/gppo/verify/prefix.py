r"""What an answer says before its value: ``x = 5``, ``(p, q) = (3, 2)``, ``\angle ABC = 30``, ``x \in [0, 1]``."""

import re
from dataclasses import dataclass

from gppo.verify.structure import split_top

#: A name as answers write it: ``x``, ``x_1``, ``f(x)``.
NAME = (
    r"(?:[A-Za-z]|\\(?:theta|alpha|beta|lambda|mu|phi|omega|gamma|delta)(?![A-Za-z]))"
    r"(?:_\{?\w+\}?)?(?:\([A-Za-z0-9]\))?"
)
_SIMPLE = re.compile(rf"\(?\s*(?:{NAME}|[A-Z]{{2,3}})(?:\s*,\s*{NAME})*\s*\)?")
_SUM = re.compile(r"[a-wA-W](?:\s*\+\s*[a-wA-W])+")  # m + n, which a problem asks for; x + y = 5 may be a line
_QUANTITY_CHARACTERS = re.compile(r"[A-Za-z\\{}_|:,'() ]*")
_SUBSCRIPT = re.compile(r"_(?:\{\w*\}|\w)|\(\s*-?\d+\s*\)")
_MEMBER = re.compile(r"(?P<name>[^=<>]*?)\\in(?![A-Za-z])(?P<rest>[^=]*)")
_RELATION = re.compile(r"[<>]|\\(?:le|ge|ne)(?![A-Za-z])")
_LETTER = re.compile(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])")
_FUNCTION = re.compile(r"([a-zA-Z])\([a-z]\)")


@dataclass(frozen=True, slots=True)
class Named:
    """A value and the name before it.

    Args:
        name: without spaces and braces; "" where there is none.
        value: what is left.
    """

    name: str
    value: str


def split_prefix(text: str) -> Named:
    r"""Cut the name off; of a chain ``x = 2 + 3 = 5`` the last link counts, before any ``\approx``."""
    if text.startswith("(") and text.endswith(")") and len(split_top(text[1:-1], "=")) > 1 and "," not in text:
        text = text[1:-1]
    exact = split_top(text, r"\approx")
    if len(exact) > 1:
        text = f"{exact[0]} = {exact[1]}" if _is_name(exact[0]) else exact[0]
    member = _MEMBER.fullmatch(text)
    if member and _is_name(member["name"]):
        return Named(_squashed(member["name"]), member["rest"].strip())
    links = split_top(text, "=")
    if len(links) < 2 or _RELATION.search(text) or any(len(split_top(link, ",", ";")) > 1 for link in links[:-1]):
        return Named("", text)
    if _is_name(links[0]):
        return Named(_squashed(links[0]), links[-1])
    if (_is_quantity(links[0]) and not _LETTER.search(links[-1])) or (len(links) > 2 and _is_name(links[-2])):
        return Named("?", links[-1])
    if not _LETTER.search(links[0] + links[-1]):
        return Named("?", links[-1])  # 2 + 3 = 5: the left side is a calculation
    return Named("", text)


def without_names(gold: str, predicted: str) -> tuple[str, str]:
    """Leave names out where one side has one, or both the same."""
    first, second = split_prefix(gold), split_prefix(predicted)
    if (first.name and not second.name and "=" in predicted) or (second.name and not first.name and "=" in gold):
        return gold, predicted
    if first.name and second.name and not _may_be_same(first, second):
        return gold, predicted
    return first.value, second.value


def _may_be_same(first: Named, second: Named) -> bool:
    if first.name == second.name or "?" in (first.name, second.name):
        return True
    functions = [_FUNCTION.fullmatch(name) for name in (first.name, second.name)]
    if functions[0] and functions[1]:  # W(n) = 1 and W(x) = 1
        return functions[0][1] == functions[1][1] and not _LETTER.search(first.value + second.value)
    return "y" in (first.name, second.name) and any(functions)  # y = x + 1 and f(x) = x + 1


def _is_name(text: str) -> bool:
    return bool(_SIMPLE.fullmatch(text.strip()))


def _is_quantity(text: str) -> bool:
    """Whether a left side only says what is meant: letters, |AB|, a ratio of segments; nothing that is calculated."""
    text = text.strip()
    bare = _SUBSCRIPT.sub("", text)
    letters = bool(re.search("[A-Za-z]", bare))
    return bool(_SUM.fullmatch(text)) or (letters and bool(_QUANTITY_CHARACTERS.fullmatch(bare)))


def _squashed(text: str) -> str:
    return re.sub(r"[\s{}]", "", text)
