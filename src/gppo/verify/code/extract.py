"""The program of a response: its last fenced block."""

import re

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})(.*)", re.DOTALL)
_CLOSING_INDENT = 3  # a fence deeper inside the block than this is text, e.g. of a docstring


def extract_code(text: str) -> str | None:
    """The content of the last fenced block that is closed, or None where there is none or it is blank.

    Args:
        text: the answer, without the thinking.

    Fences are those of CommonMark: three or more backticks or tildes, closed by at least as many of the same sign on a
    line of their own. The words after an opening fence do not matter: a last block of another language is judged, and
    fails. A block indented as part of a list loses that indent. Linear in the length of the text.
    """
    found: str | None = None
    indent, sign = 0, ""
    block: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        match = _FENCE.fullmatch(line)
        space, fence, info = (len(match[1]), match[2], match[3]) if match else (0, "", "")
        if not sign:
            if fence and "`" not in info:
                indent, sign, block = space, fence, []
        elif fence.startswith(sign) and not info.strip() and space <= indent + _CLOSING_INDENT:
            found, sign = "\n".join(block) + "\n", ""
        else:
            block.append(_without_indent(line, indent))
    return found if found and found.strip() else None


def _without_indent(line: str, indent: int) -> str:
    lead = len(line) - len(line.lstrip(" \t"))
    return line[min(indent, lead) :]
