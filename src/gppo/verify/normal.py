r"""One way of writing for the many ways in which models write the same LaTeX.

Only spelling is touched here, never value: ``\dfrac12`` becomes ``\frac{1}{2}``, ``1{,}000`` becomes ``1000``, and a
unit is cut off and kept beside the text, so that what compares can decide what a missing or another unit means.
"""

import re
from dataclasses import dataclass

_UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "°": r"^{\circ}", "π": r"\pi ",
        "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
        "±": r"\pm ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "²": "^{2}", "³": "^{3}", "％": "%", "，": ",",
        "（": "(", "）": ")", "：": ":", "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\0": " ",
        "€": "", "£": "", "¥": "",
    }
)  # fmt: skip

# Applied in this order.
_SPELLING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"\\\$|\$|(?<!\\)\\[()\[\]]", " "),
        (r"\\(?:left|right|[bB]igg?[lr]?|displaystyle|textstyle|limits)(?![A-Za-z])\.?", ""),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"(?<=\d)(?:,\\!|\{,\}|\\,)\s*(?=\d{3}(?!\d))", ""),
        (r"(?<!\\)\\!", ""),
        (r"(?<!\\)\\(?:q?quad(?![A-Za-z])|[,;: ])|~", " "),
        (r"\{,\}", ","),
        (r"\\leq(?:slant)?(?![A-Za-z])|<=", r"\\le "),
        (r"\\geq(?:slant)?(?![A-Za-z])|>=", r"\\ge "),
        (r"\\neq(?![A-Za-z])|!=", r"\\ne "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\varnothing(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset "),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\^\s*\{?\s*(?:\\circ|\\degree)(?![A-Za-z])\s*\}?|\\degree(?![A-Za-z])", r"^{\\circ}"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}"),
        (r"\\sqrt\s*(\d)", r"\\sqrt{\1}"),
        (r"(?<![A-Za-z\\])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"(?<=\d)\s*thousand(?![a-z])", r"\\cdot 10^{3}"),
        (r"(?<=\d)\s*million(?![a-z])", r"\\cdot 10^{6}"),
        (r"(?<=\d)\s*billion(?![a-z])", r"\\cdot 10^{9}"),
        (r"(?<=\d)([\s{a-z\\]*[ap])\.\s?m\.?(?![A-Za-z])", r"\1m"),
        (r"\s*(?:\\?%|\\text\s*\{\s*(?:percent|pct|\\?%)\s*\}|(?<=[\d\s])(?:percentage|percent|pct)\b)", "%"),
    )
)
_DOUBLED = re.compile(r"(?<!\\)\\\\(?=[A-Za-z]{2})")
_TEXT = re.compile(
    r"\\(?:text|mbox|hbox|textbf|textit|textrm|textsf|textnormal|mathrm|mathbf|mathit|operatorname)\s*\{([^{}]*)\}"
)
_AND = re.compile(r"\s*,?\s*(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])\s*")
_SPACE_GROUPS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?: \d{3})+(?!\d)")
_COMMA_GROUPS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_POWER = r"(?:\s*\^\s*\{?\s*(\d)\s*\}?)?"
_TEXT_UNIT = re.compile(
    r"(?<=[\d)}%])\s*\\(?:text|mbox|textbf|textit|textrm|textnormal|mathrm)\s*\{([^{}\d]*)\}" + _POWER + r"\s*$"
)
_WORD_UNIT = re.compile(r"(?<=[\d)}%])\s+([A-Za-z]{2,}(?: [A-Za-z]+)*\.?)" + _POWER + r"\s*$")
_GLUED_UNIT = re.compile(r"(?<=\d)(cm|mm|km|kg|ft|lb|mph|in|miles|meters|feet)" + _POWER + r"\s*$")
_DEGREES = re.compile(r"\^\{\\circ\}\s*([CF])?\s*$")
_NO_UNIT = re.compile(r"^(?:if|for|when|where|mod|base)\b|\b(?:and|or)\b|^[ei]$")

# Singular form -> short form; any other unit keeps its singular form.
_UNIT_NAMES = {
    "centimeter": "cm", "centimetre": "cm", "millimeter": "mm", "millimetre": "mm", "meter": "m", "metre": "m",
    "kilometer": "km", "kilometre": "km", "inch": "in", "inche": "in", "foot": "ft", "feet": "ft", "yard": "yd",
    "mile": "mi", "gram": "g", "kilogram": "kg", "pound": "lb", "ounce": "oz", "second": "s", "sec": "s",
    "minute": "min", "hour": "h", "hr": "h", "liter": "l", "litre": "l", "unit": "",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Normal:
    """An answer in one spelling.

    Args:
        text: LaTeX without delimiters, sizes, thousands separators or unit.
        unit: the unit in short form ("cm^2", "degree"), "" where there is none.
    """

    text: str
    unit: str = ""


def normalise(answer: str) -> Normal:
    """Spell an answer in one way and cut its unit off. Never raises; time grows with the square of the length."""
    text = re.sub(r"\s+", " ", answer.translate(_UNICODE)).strip(" *")
    if r"\begin" not in text:  # where rows end with two backslashes
        text = _DOUBLED.sub(r"\\", text)
    for pattern, replacement in _SPELLING:
        text = pattern.sub(replacement, text)
    text = _without_stop(text)
    text, unit = _cut_unit(text)
    for _ in range(3):  # nested \text{\textbf{...}} is rare, and never deeper
        text = _TEXT.sub(r" \1 ", text)
    if not unit:  # the unit was inside the same \text{} as its number
        text, unit = _cut_unit(text.strip())
    text = re.sub(r"\s+", " ", _AND.sub(" , ", text))
    text = _SPACE_GROUPS.sub(lambda match: match.group().replace(" ", ""), text)
    if not re.search(r"[(\[]|\\\{", text):  # inside brackets a comma separates
        text = _COMMA_GROUPS.sub(lambda match: match.group().replace(",", ""), text)
    return Normal(_without_stop(text), unit)


def squash(text: str) -> str:
    """The text without the spaces that LaTeX ignores; a space between two digits or two letters is kept."""
    return re.sub(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])|(?<=[0-9]) (?=[A-Za-z])|(?<=[A-Za-z]) (?=[0-9])", "", text)


def _without_stop(text: str) -> str:
    text = text.strip()
    return text if text.endswith("...") else re.sub(r"(?<!\\)[\s.,;]+$", "", text)


def _has_digit(text: str) -> bool:
    return any(character.isdigit() for character in text)


def _cut_unit(text: str) -> tuple[str, str]:
    degrees = _DEGREES.search(text)
    if degrees:
        return text[: degrees.start()].strip(), "degree" + (degrees.group(1) or "")
    for pattern in (_TEXT_UNIT, _WORD_UNIT, _GLUED_UNIT):
        match = pattern.search(text)
        if match and _has_digit(text[: match.start()]) and not _NO_UNIT.search(match.group(1).strip()):
            return text[: match.start()].strip(), _unit_name(match.group(1), match.group(2))
    return text, ""


def _unit_name(words: str, power: str | None) -> str:
    words = words.lower().replace(".", "").strip()
    squared = re.match(r"(?:square|sq|cubic)\s+", words)
    if squared:
        power = "3" if words.startswith("cubic") else "2"
        words = words[squared.end() :]
    words = re.sub(r"\s+", " ", words)
    words = words.removesuffix("s") if len(words) > 1 else words
    short = _UNIT_NAMES.get(words, words)
    return f"{short}^{power}" if power and short else short
