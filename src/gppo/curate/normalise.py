"""Two views of a text: a normal form for exact comparison, and a list of words for n-gram overlap.

Normal form: NFKC, lower case, white space collapsed and stripped. Plain NFKC would read "2⁵" as "25" and "1½" as
"11/2", so raised and lowered signs first become "^5" and "_5", and fractions stand apart.

Words: computed from the normal form. A word is a run of letters, a number ("12", "0.5"), or one character of a script
that writes without spaces. Digits and letters are apart: "2x" is two words. LaTeX's own signs ($ \\ { } _) and
punctuation are left out, so "$x^{2}$" and "x ^ 2" have the same words. The signs of mathematics are carried by the word
that follows (by the last word where none follows): "3 + 5 - 7" is ["3", "+5", "-7"] and differs from "3 - 5 + 7". They
are not words by themselves, because then "x^2 + y^2 = z^2" would hold a 9-gram that many problems share. A hyphen that
joins a word of two or more letters ("two-digit", "x-axis") is no minus; "!" is a sign after a digit, a bracket or a
single letter only.
"""

import re
import unicodedata

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ"
_LOWERED = "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₒₓₕₖₗₘₙₚₛₜᵢⱼ"
_FRACTIONS = "¼½¾⅐⅑⅒⅓⅔⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
_RAISED_OR_FRACTION = re.compile(f"([{_RAISED}]+)|([{_LOWERED}]+)|([{_FRACTIONS}])")
_SAME_SIGN = str.maketrans({"−": "-", "‐": "-", "–": "-", "⁄": "/", "∕": "/", "∗": "*"})

_NO_SPACES = "\u0e00-\u0eff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # Thai, Lao, kana, Han
_HYPHEN = re.compile(r"(?<=[^\W\d_]{2})-(?=\w)|(?<=\w)-(?=[^\W\d_]{2})")
_TOKEN = re.compile(
    rf"""
      ( [^\W\d_{_NO_SPACES}]+ | \d+(?:\.\d+)? | [{_NO_SPACES}] )
    | ( [-+*/=<>^%|×÷·±∓≤≥≠≈≡∈∉⊂⊆∪∩√∑∏∫∞→] | (?: (?<=[\d)]) | (?<=\b[^\W\d_]) ) ! )
    """,
    re.VERBOSE,
)  # a word, or a sign


def normal_form(text: str) -> str:
    """What two texts share when they differ only in case, white space or the way Unicode spells a character.

    The normal form of a normal form is itself.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _RAISED_OR_FRACTION.sub(_spell_out, text)).lower()
        text = unicodedata.normalize("NFKC", text).translate(_SAME_SIGN)
    return " ".join(text.lower().split())


def words(text: str) -> list[str]:
    """The words of a text, in order; empty for a text without a letter or a digit."""
    text = normal_form(text)
    if "-" in text:
        text = _HYPHEN.sub(" ", text)
    found: list[str] = []
    signs = ""
    for word, sign in _TOKEN.findall(text):
        if sign:
            signs += sign
        elif signs:
            found.append(signs + word)
            signs = ""
        else:
            found.append(word)
    if signs and found:
        found[-1] += signs
    return found


def _spell_out(match: re.Match[str]) -> str:
    raised, lowered, fraction = match.groups()
    if raised:
        return f"^{raised}"
    return f"_{lowered}" if lowered else f" {fraction}"
