r"""Units at the end of an answer: ``5\text{ cm}``, ``74^{\circ}``, ``12 square inches``, ``\$3``, ``5 apples``.

A unit of measurement or money is kept beside the number, in one short form. Any other word ("apples", "ways") says what
was counted, which the problem knows already, and is left out.
"""

import re

_NAMES = {
    "mm": "mm millimeter millimetre", "cm": "cm centimeter centimetre", "m": "m meter metre",
    "km": "km kilometer kilometre",
    "in": "in inch inche", "ft": "ft foot feet", "yd": "yd yard", "mi": "mi mile", "mg": "mg milligram",
    "g": "g gram gm",
    "kg": "kg kilogram", "lb": "lb lbs pound", "oz": "oz ounce", "t": "ton tonne", "ms": "ms millisecond",
    "s": "s sec second", "min": "min minute", "h": "h hr hour", "day": "day", "week": "week", "month": "month",
    "year": "year yr", "ml": "ml milliliter millilitre", "l": "l liter litre", "gal": "gal gallon", "mph": "mph",
    "degree": "degree deg", "radian": "radian rad", "degreec": "celsius", "degreef": "fahrenheit",
    "dollar": "dollar usd buck", "cent": "cent", "euro": "euro eur", "gbp": "gbp", "yuan": "yuan rmb", "yen": "yen",
    "rupee": "rupee", "am": "am", "pm": "pm", "j": "joule", "kj": "kj kilojoule", "n": "newton", "w": "watt",
    "v": "volt", "hz": "hz hertz", "pa": "pascal", "mol": "mol mole",
}  # fmt: skip
_SHORT = {name: short for short, names in _NAMES.items() for name in names.split()} | {
    "degree celsius": "degreec", "degree fahrenheit": "degreef", "c": "degreec", "f": "degreef",
}  # fmt: skip
# One letter in plain text is a variable, not a unit; in \text{} it is a unit.
_IN_PLAIN_TEXT = frozenset(name for name in _SHORT if len(name) > 1)

_POWER = r"(?:\s*\^\s*\{?\s*([23])\s*\}?)?"
_COMMAND = r"\\(?:text|mbox|hbox|textbf|textit|textrm|textnormal|mathrm|rm)"
_TEXT_UNIT = re.compile(r"(?<=[\d)}%a-z!])\s*" + _COMMAND + r"\s*\{([^{}\d]*)\}" + _POWER + r"\s*$")
_TEXT_RATE = re.compile(
    r"(?<=[\d)}])\s*" + _COMMAND + r"\s*\{([^{}\d]*)\}\s*/\s*" + _COMMAND + r"\s*\{([^{}\d]*)\}" + _POWER + r"\s*$"
)
_WORD_UNIT = re.compile(r"(?<=[\d)}%!])\s+([A-Za-z]{2,}(?:[ /-][A-Za-z]+)*\.?)" + _POWER + r"\s*$")
_GLUED_UNIT = re.compile(r"(?<=\d)([A-Za-z]{2,5}(?:/[a-z]{1,3})?)" + _POWER + r"\s*$")
_DEGREES = re.compile(r"\s*\^\{\\circ\}\s*(?:\\(?:text|mathrm)\s*\{\s*([CF])\s*\}|([CF]))?\s*$")
_MONEY = re.compile(r"^\s*([-+]?)\s*(\\\$|[€£¥]|(?:USD|US|EUR|Rs\.?)\s*(?:\\\$)?)\s*(?=[-\d.\\(])")
_MONEY_AFTER = re.compile(r"(?<=\d)\s*([€£¥¢])\s*$")
_MONEY_NAMES = {"€": "euro", "£": "gbp", "¥": "yen", "¢": "cent", "E": "euro", "R": "rupee"}
_FOREIGN_WORD = re.compile(r"(?<=[\d)}])\s*[\u0600-\u06ff\u0900-\u097f\u3040-\u30ff\u4e00-\u9fff]+\s*$")
_NO_UNIT = re.compile(r"^(?:if|for|when|where|mod|base|to|in base|pi)\b|\b(?:and|or|is|infinity)\b|^[ei]$")
_FUNCTION = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![A-Za-z])")


def cut_unit(text: str) -> tuple[str, str]:
    """The text without its unit, and the unit in short form ("cm^2", "degree"), "" where there is none that counts."""
    text, money = _cut_money(text)
    if money or not any(character.isdigit() for character in text):
        return text, money
    degrees = _DEGREES.search(text)
    if degrees and not _FUNCTION.search(text):
        return text[: degrees.start()].strip(), "degree" + (degrees[1] or degrees[2] or "").lower()
    text = _FOREIGN_WORD.sub("", text)
    rate = _TEXT_RATE.search(text)
    if rate:
        return text[: rate.start()].strip(), _short(f"{rate[1]}/{rate[2]}", rate[3], in_text=True)
    for pattern in (_TEXT_UNIT, _WORD_UNIT, _GLUED_UNIT):
        match = pattern.search(text)
        if not match or not re.search(r"\d", text[: match.start()]) or _NO_UNIT.search(match[1].strip()):
            continue
        in_text = pattern is _TEXT_UNIT
        unit = _short(match[1], match[2], in_text)
        decoration = in_text or (pattern is _WORD_UNIT and len(match[1]) > 3)
        if unit or decoration:
            return text[: match.start()].strip(), unit
    return text, ""


def _cut_money(text: str) -> tuple[str, str]:
    before = _MONEY.match(text)
    if before:
        return before[1] + text[before.end() :], _MONEY_NAMES.get(before[2][0], "dollar")
    after = _MONEY_AFTER.search(text)
    return (text[: after.start()], _MONEY_NAMES[after[1]]) if after else (text, "")


def _short(words: str, power: str | None, in_text: bool) -> str:
    words = re.sub(r"\s+", " ", words.lower().replace(".", "").replace("\\", "")).strip()
    words = re.sub(r"(?<=[a-z])-(?=[a-z])", " ", words)
    parts = re.split(r"\s*/\s*|\s+per\s+|\s+an?\s+", words)
    units = [_one(part, in_text or len(parts) > 1) for part in parts]
    if not all(units):
        return ""
    unit = "/".join(units)
    return f"{unit}^{power}" if power else unit


def _one(words: str, in_text: bool) -> str:
    squared = re.match(r"(square|sq|cubic|cu)\s+", words)
    word = words[squared.end() :] if squared else words
    if word not in _SHORT:
        word = word.removesuffix("s").replace("degrees ", "degree ")
    short = _SHORT.get(word, "") if in_text or word in _IN_PLAIN_TEXT else ""
    if short and squared:
        return f"{short}^{3 if squared[1].startswith('cu') else 2}"
    return short
