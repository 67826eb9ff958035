"""Text of a model as it may be shown: nothing in it steers a terminal, hides, or turns text around."""

import unicodedata

#: Controls, marks of direction, joiners without width, private, unassigned and half characters, line separators.
_UNSEEN = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")


def visible(text: str) -> str:
    """The text with what cannot be seen written out: ‹U+202E›, ‹U+001B›; newlines and tabs stay.

    A byte that is no UTF-8, as ``surrogateescape`` leaves it, becomes ‹FF›.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(c) for c in text)


def _shown(c: str) -> str:
    if "\udc80" <= c <= "\udcff":
        return f"‹{ord(c) - 0xDC00:02X}›"
    return c if c in "\n\t" or unicodedata.category(c) not in _UNSEEN else f"‹U+{ord(c):04X}›"
