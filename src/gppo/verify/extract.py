r"""The answer of a response: the last ``\boxed{...}`` that is closed."""

import re
from dataclasses import dataclass

MAX_ANSWER_CHARS = 8192

# Several backslashes before a box still make a box: models double them when they have seen much JSON.
_TOKEN = re.compile(r"\\{1,4}(?:boxed|fbox)(?![A-Za-z])\s*|\\.|[{}]", re.DOTALL)
_SINGLE = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)|[A-Za-z](?![A-Za-z])")
_PERCENT_AFTER = re.compile(r"\s*(?:\$|\\[)\]])?\s*(?:\\?%|(?:percent|per cent|pct)\b)")
_LONGEST_JOINT = 80
_FILLER = r"(?:[\s$]|\\[()\[\];,! ]|\\q?quad)*"
# What stands between the members of one list: a comma, or "and" after three words at most, and a name for the next.
_JOINT = re.compile(
    rf"{_FILLER}(?:[,;]|(?:\\text\s*\{{)?\s*(?:[\w()]+ ){{0,3}}(?:and|or)\s*\}}?)"
    rf"{_FILLER}(?:\w{{1,12}}\s*=\s*)?{_FILLER}"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A piece of a text that may be the answer.

    Args:
        start, end: where it stands, with what encloses it.
        content: the text inside.
    """

    start: int
    end: int
    content: str


def extract_answer(text: str) -> str | None:
    r"""The content of the last closed ``\boxed{}`` or ``\fbox{}``, or the number or letter after ``\boxed ``.

    Of nested boxes the inner one counts. Neighbouring boxes are never merged: a response that boxes 41 and then 42
    says 42. Linear in the length of the text. Returns None where there is no closed box.
    """
    found = last_box(text)
    return found.content if found else None


def last_box(text: str) -> Found | None:
    """The last of ``find_boxes``, mostly without reading what stands before it."""
    keyword = max(text.rfind("boxed"), text.rfind("fbox"))
    if keyword < 0:
        return None
    start = keyword
    while start and keyword - start < 4 and text[start - 1] == "\\":
        start -= 1
    found = find_boxes(text[start:])
    if found and found[0].start == 0:
        only = found[0]
        return Found(start, start + only.end, only.content)
    found = find_boxes(text)  # the last one is not closed, or is none
    return found[-1] if found else None


def find_boxes(text: str) -> list[Found]:
    """Every closed box without a box inside it, in order."""
    found: list[Found] = []
    braces: list[
        tuple[int, int]
    ] = []  # of each open brace: where the box command before it begins (or -1), its content
    command = end_of_command = -1  # a brace right after a box command belongs to it
    for token in _TOKEN.finditer(text):
        sign = token.group()
        if sign == "{":
            braces.append((command if token.start() == end_of_command else -1, token.end()))
        elif sign == "}":
            if not braces:
                continue
            start, content = braces.pop()
            if start >= 0 and (not found or content > found[-1].start):
                found.append(Found(start, token.end(), text[content : token.start()].strip()))
        elif sign.lstrip("\\").startswith(("boxed", "fbox")):
            command, end_of_command = token.span()
            single = _SINGLE.match(text, end_of_command)
            if single:
                found.append(Found(command, single.end(), single.group().rstrip(",.")))
    return found


def last_list(text: str, found: list[Found], touching: bool = False) -> str:
    """The last finding and those that a comma or "and" joins to it, as one list; ``touching``: or nothing between."""
    members = [found[-1]]
    for before in reversed(found[:-1]):
        between = text[before.end : members[0].start]
        if len(between) > _LONGEST_JOINT or not (_JOINT.fullmatch(between) if between.strip(" $") else touching):
            break
        members.insert(0, before)
    return ", ".join(member.content for member in members)


def percent_follows(text: str, found: Found) -> bool:
    r"""Whether a percent sign stands right after a box, as in ``\boxed{28}\%``."""
    return bool(_PERCENT_AFTER.match(text[found.end : found.end + 30]))
