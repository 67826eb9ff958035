r"""The answer of a response: the last ``\boxed{...}`` that is closed."""

import re

MAX_ANSWER_CHARS = 8192

# Several backslashes before a box still make a box: models double them when they have seen much JSON.
_TOKEN = re.compile(r"\\{1,4}(?:boxed|fbox)(?![A-Za-z])\s*|\\.|[{}]", re.DOTALL)
_SINGLE = re.compile(r"[-+]?(?:\d[\d,]*\.?\d*|\.\d+)|[A-Za-z](?![A-Za-z])")


def extract_answer(text: str) -> str | None:
    r"""The content of the last closed ``\boxed{}`` or ``\fbox{}``, or the number or letter after ``\boxed ``.

    Of nested boxes the inner one counts. Neighbouring boxes are never merged: a response that boxes 41 and then 42
    says 42. Linear in the length of the text. Returns None where there is no closed box.
    """
    found: tuple[int, str] | None = None
    braces: list[tuple[int, bool]] = []  # where the content of each open brace begins, and whether a box opened it
    box_end = -1  # where the last box command ended: a brace right there belongs to it
    for token in _TOKEN.finditer(text):
        sign = token.group()
        if sign == "{":
            braces.append((token.end(), token.start() == box_end))
        elif sign == "}":
            if braces:
                start, boxed = braces.pop()
                if boxed and (found is None or start > found[0]):
                    found = start, text[start : token.start()].strip()
        elif sign.lstrip("\\").startswith(("boxed", "fbox")):
            box_end = token.end()
            single = _SINGLE.match(text, box_end)
            if single:
                found = box_end, single.group().rstrip(",.")
    return found[1] if found else None
