r"""One way of writing for the many ways in which models write the same LaTeX.

Only spelling is touched here, never value: ``\dfrac12`` becomes ``\frac{1}{2}``, ``1{,}000`` becomes ``1000``, and a
unit is cut off and kept beside the text, so that what compares can decide what a missing or another unit means.
"""

import re
from dataclasses import dataclass

from gppo.verify.units import cut_unit

_UNICODE = str.maketrans(
    {
        "−": "-", "–": "-", "—": "-", "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "÷": r"\div ", "∗": "*",
        "°": r"^{\circ}", "º": r"^{\circ}", "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ",
        "λ": r"\lambda ", "ω": r"\omega ", "φ": r"\phi ", "∞": r"\infty ", "≤": r"\le ", "≥": r"\ge ", "⩽": r"\le ",
        "⩾": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "±": r"\pm ",
        "∓": r"\mp ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "∠": r"\angle ", "√": r"\sqrt ",
        "²": "^{2}", "³": "^{3}", "⁴": "^{4}", "⁵": "^{5}", "⁶": "^{6}", "％": "%", "，": ",", "、": ",",
        "；": ";", "（": "(", "）": ")", "：": ":", "＝": "=", "［": "[", "］": "]", "。": ".", "⟨": r"\langle ",
        "⟩": r"\rangle ", "½": r"\frac{1}{2}", "⅓": r"\frac{1}{3}", "⅔": r"\frac{2}{3}", "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}", "⅕": r"\frac{1}{5}", "⅛": r"\frac{1}{8}", "₀": "_{0}", "₁": "_{1}", "₂": "_{2}",
        "₃": "_{3}", "₄": "_{4}", "₅": "_{5}", "₆": "_{6}", "₇": "_{7}", "₈": "_{8}", "₉": "_{9}", "’": "'",
        "\u00a0": " ", "\u2009": " ", "\u202f": " ", "\u200b": "", "\u2061": "", "\ufeff": "", "\0": " ",
    }
    | {chr(0xFF10 + digit): str(digit) for digit in range(10)}
)  # fmt: skip

_WORDS = (
    "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|log|ln|exp|pi|infty|theta|alpha|beta|gamma|delta|"
    "lambda|omega|phi"
)
_COMMANDS = (
    "text|mbox|hbox|textbf|textit|textrm|textsf|texttt|textnormal|mathrm|mathbf|mathit|mathsf|operatorname|"
    "boldsymbol|bm"
)

# Applied in this order.
_SPELLING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"(?:(?<!\\)\$|(?<!\\)\\[()\[\]]|\s)+", " "),  # runs of spaces would make later patterns slow
        (r"\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits|nolimits|rm|bf)(?![A-Za-z])\.?", ""),
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"\\[dt]binom(?![A-Za-z])", r"\\binom"),
        (r"(?<=\d)(?:,\s*\\!|\{,\}|\\,|\\;|\\ |\\thinspace ?|\{\s*\})\s*(?=\d{3}(?!\d))", ""),
        (r"(?<!\\)\\!", ""),
        (r"(?<!\\)\\(?:(?:q?quad|thinspace|hspace\{[^{}]*\})(?![A-Za-z])|[,;:> ])|~|\\q?quad", " "),
        (r"\s+", " "),
        (r"\{,\}", ","),
        (r"\\(?:leqq?|leqslant)(?![A-Za-z])|<=|=<", r"\\le "),
        (r"\\(?:geqq?|geqslant)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\neq(?![A-Za-z])|!=|\\not\s*=", r"\\ne "),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\(?:simeq|cong|thickapprox)(?![A-Za-z])", r"\\approx "),
        (r"\\varnothing(?![A-Za-z])|\\\{\s*\\\}|\\empty(?![A-Za-z])", r"\\emptyset "),
        (r"\\lbrace(?![A-Za-z])", r"\\{"),
        (r"\\rbrace(?![A-Za-z])", r"\\}"),
        (r"\\lbrack(?![A-Za-z])", "["),
        (r"\\rbrack(?![A-Za-z])", "]"),
        (r"\\(?:vert|mid)(?![A-Za-z])|\\[lr]vert(?![A-Za-z])", "|"),
        (r"\^\s*\{?\s*(?:\\circ|\\degree)(?![A-Za-z])\s*\}?|\\degree(?![A-Za-z])", r"^{\\circ}"),
        (r"\\mathbb\s*([A-Z])", r"\\mathbb{\1}"),
        (r"\\(?:mathbb|mathbf)\{R\}|\\Reals?(?![A-Za-z])", r"\\mathbb{R}"),
        (r"(?<=[)\]}])\s*U\s*(?=[(\[]|\\\{)", r" \\cup "),
        (r"(?<![A-Za-z\\])(?:infinity|inf|oo)(?![A-Za-z])", r"\\infty "),
        (rf"(?<![A-Za-z\\])({_WORDS})(?![A-Za-z])", r"\\\1 "),
        (r"\\(?:math(?:rm|it|sf)|operatorname)\s*\{\s*([ei])\s*\}", r"\1 "),
        (r"\{\s*([\w\\.+-]{1,20})\s*\\over(?![A-Za-z])\s*([\w\\.+-]{1,20})\s*\}", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*(\d)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*([a-zA-Z])(?![A-Za-z])", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d)\s*(\\pi)(?![A-Za-z])", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\d|\\pi(?![A-Za-z]))\s*\{", r"\\frac{\1}{"),
        (r"(\\frac\s*\{[^{}]*\})\s*(\d)", r"\1{\2}"),
        (r"\\sqrt\s*(\d|[a-zA-Z](?![A-Za-z])|\\pi(?![A-Za-z]))", r"\\sqrt{\1}"),
        (r"(?<![A-Za-z\\])\\?sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"(?<![A-Za-z\\])cbrt\s*\(([^()]*)\)", r"\\sqrt[3]{\1}"),
        (r"(?<![A-Za-z\\])frac(?=\{)", r"\\frac"),
        (r"\\(?:bar|dot)\s*\{?(\d)\}?(?=\s*$)", r"\\overline{\1}"),
        (r"(\d*\.\d*?)(\d)\2\2+\s*(?:\\l?dots(?:[bcimo](?![A-Za-z]))?|\\cdots|\.\.\.|…)\s*$", r"\1\\overline{\2}"),
        (r"(?<=\.)(\d*)\((\d+)\)(?=\s*$)", r"\1\\overline{\2}"),
        (r"(?<![\d.\w^}])(\d+)\s+(\d+)\s*/\s*(\d+)(?![\d.])", r"\1\\frac{\2}{\3}"),
        (r"(?<=\d)\s*[xX]\s*(?=10\s*\^)", r"\\times "),
        (r"(?<=\d)\s*(?:\\text\s*\{)?\s*(?:thousand)(?![a-z])\s*\}?", r"\\cdot 10^{3}"),
        (r"(?<=\d)\s*(?:\\text\s*\{)?\s*million(?![a-z])\s*\}?", r"\\cdot 10^{6}"),
        (r"(?<=\d)\s*(?:\\text\s*\{)?\s*billion(?![a-z])\s*\}?", r"\\cdot 10^{9}"),
        (r"(?<=\d)\s*(?:\\text\s*\{)?\s*trillion(?![a-z])\s*\}?", r"\\cdot 10^{12}"),
        (r"(?<=\d)([\s{a-z\\]*[apAP])\.\s?[mM]\.?(?![A-Za-z])", r"\1m"),
        (r"(?<=\d)\s*\^?\s*\{?\s*\\text\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?(?=\s*$)|(?<=\d)(?:st|nd|rd|th)(?=\s*$)", ""),
        (
            r"(?<=[\dA-F])\s*,?\s*\(?\s*(?:\\text\s*\{)?\s*\(?\s*(?:in )?base[ -]*(?:\})?\s*(\d+)"
            r"\s*\)?\s*\}?\s*\)?(?=\s*$)",
            r"_{\1}",
        ),
        (
            r"\s*(?:\\?%|\\text\s*\{\s*(?:percent|per cent|pct|\\?%)\s*\}"
            r"|(?<=[\d\s])(?:percentage|percent|per cent|pct)\b)",
            "%",
        ),
    )
)
_ROOT_SIGN = re.compile(r"√\s*(\d+)")
_DOUBLED = re.compile(r"(?<!\\)\\\\(?=[A-Za-z]{2})")
_TEXT = re.compile(rf"\\(?:{_COMMANDS})\s*\{{([^{{}}]*)\}}")
_AND = re.compile(
    r"\s*[,;]?\s*(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])\s*|(?<=[)\d])or(?=[(\dA-Z])|\s*\\(?:vee|lor|wedge|land)(?![A-Za-z])\s*"
)
_SPACE_GROUPS = re.compile(r"(?<![\d.,^_])[1-9]\d{0,2}(?: \d{3})+(?!\d)")
_COMMA_GROUPS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?![\d,])")
_BASE_WORDS = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "twelve": "12", "sixteen": "16",
}  # fmt: skip
_BASE = re.compile(r"_\s*\{?\s*\\(?:text|mathrm|rm)\s*\{\s*(\w+)\s*\}\s*\}?")


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
    text = _ROOT_SIGN.sub(r"\\sqrt{\1}", answer).translate(_UNICODE)
    text = re.sub(r"\s+", " ", text).strip(" *")
    if r"\begin" not in text:  # where rows end with two backslashes
        text = _DOUBLED.sub(r"\\", text)
    for pattern, replacement in _SPELLING:
        text = pattern.sub(replacement, text)
    text = _BASE.sub(lambda match: f"_{{{_BASE_WORDS.get(match[1].lower(), match[1])}}}", text)
    text, unit = cut_unit(_without_stop(text))
    for _ in range(3):  # nested \text{\textbf{...}} is rare, and never deeper
        text = _TEXT.sub(r" \1 ", text)
    if not unit:  # the unit was inside the same \text{} as its number
        text, unit = cut_unit(text.strip())
    text = re.sub(r"\s+", " ", _AND.sub(" , ", text.replace(r"\$", "")))
    text = _SPACE_GROUPS.sub(lambda match: match.group().replace(" ", ""), text)
    if not re.search(r"[(\[]|\\\{", text):  # inside brackets a comma separates
        text = _COMMA_GROUPS.sub(lambda match: match.group().replace(",", ""), text)
    return Normal(_without_stop(text), unit)


def squash(text: str) -> str:
    """The text without the spaces that LaTeX ignores; a space between two digits or two letters is kept."""
    return re.sub(r"(?<![0-9A-Za-z]) | (?![0-9A-Za-z])|(?<=[0-9]) (?=[A-Za-z])|(?<=[A-Za-z]) (?=[0-9])", "", text)


def _without_stop(text: str) -> str:
    text = text.strip()
    return text if text.endswith("...") else re.sub(r"(?<!\\)[\s.,;:]+$", "", text)
