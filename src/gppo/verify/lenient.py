r"""The answer of a response that need not box it: a last statement, formula or number.

For evaluation of models that were never told to box. Not for rewards: what a reader must guess, a policy learns to
blur.
"""

import re
from collections import deque

from gppo.verify.extract import Found, find_boxes, last_list

_TAIL = 4000  # an answer stands at the end, and searching a long text for pairs of dollars would take long
_MARKER = re.compile(r"####\s*(?P<rest>[^\n]+)")
_FINAL = re.compile(r"final answer\b(?:\s*(?:is|:)|\s*\*\*)*\s*", re.IGNORECASE)
_STATEMENT = re.compile(
    r"(?:(?:final )?\banswer\b|réponse|respuesta|antwort|答案|ответ)(?:\s*(?:is|are|est|es|ist|是|为|:|：|\*\*))*\s*",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.。!?](?=\s|$|<)|\n\s*\n|<\|")
_FORMULA = re.compile(
    r"\$\$(?P<a>(?:\\.|[^$\\])+)\$\$|(?<![\\$])\$(?P<b>(?:\\.|[^$\\])+)\$|\\\[(?P<c>.{1,1000}?)\\\]|\\\((?P<d>.{1,1000}?)\\\)",
    re.DOTALL,
)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.,\\^{])(?:(?<![\w)] )(?<![\w)])[-−])?"
    r"(?:\\frac\s*\{[^{}]{1,40}\}\s*\{[^{}]{1,40}\}|\d(?:[\d,]*\d)?(?:\.\d+)?(?:\s*/\s*\d+)?|\.\d+)(?:\s*\\?%)?"
)
_NAMES_OF_BLOCKS = re.compile(
    r"\\(?:begin|end)\{[^{}]*\}|\\(?:text|mbox|mathrm|textbf|textit|textnormal)\s*\{[^{}]*\}|\\[A-Za-z]+"
)
_GLUED_OR = re.compile(r"(?<=[\d)])(?:or|and)(?=[A-Z(\d])")
_WORD = re.compile(r"[^\W\d_]{3,}")
_WORDS_OF_ANSWERS = frozenset(
    {
        "and", "percent", "pct", "percentage", "sin", "cos", "tan", "log", "sqrt", "frac", "exp", "cot", "sec", "csc",
        "arcsin", "arccos", "arctan", "infinity", "million", "billion", "miles", "meters", "feet", "inches", "hours",
        "minutes", "seconds", "dollars", "cents", "degrees",
    }
)  # fmt: skip


def stated_answer(text: str) -> str | None:
    r"""What a text says last: a box, "the answer is ...", the text itself where it is short, a formula or a number.

    Boxes and formulas that a comma or "and" joins are one list. Returns None where nothing looks like an answer.
    """
    text = text[-_TAIL:]
    boxes, final = find_boxes(text), _last(_FINAL, text)
    if boxes and (final is None or final.start() < boxes[-1].start):
        return last_list(text, boxes)
    marker = _last(_MARKER, text)
    if marker:
        return marker["rest"].strip()
    statement = final or _last(_STATEMENT, text)
    if statement:
        rest = text[statement.end() :]
        end = _SENTENCE_END.search(rest)
        answer = _in_sentence(rest[: end.start()] if end else rest)
        if answer:
            return answer
    return text.strip() if is_bare(text) else _last_of_all(text)


def is_bare(text: str) -> bool:
    """Whether a text is an answer and nothing else: one line without sentences."""
    text = text.strip()
    if not text or len(text) > 200 or "\n\n" in text:
        return False
    words = [word.lower() for word in _WORD.findall(_GLUED_OR.sub(" ", _NAMES_OF_BLOCKS.sub(" ", text)))]
    if not any(character.isdigit() or character == "$" for character in text.strip("$ ")):
        return len(words) <= 6
    return all(word in _WORDS_OF_ANSWERS or (word.isascii() and word.isupper()) for word in words)


def _in_sentence(sentence: str) -> str | None:
    sentence = sentence.replace('\\"', '"').strip(" *\n\"'")
    if is_bare(sentence):
        return sentence or None
    return _last_of_all(sentence)


def _last_of_all(text: str) -> str | None:
    """The last formula, or the number after it."""
    formulas = [
        Found(match.start(), match.end(), (match["a"] or match["b"] or match["c"] or match["d"] or "").strip())
        for match in _FORMULA.finditer(text)
    ]
    formulas = [found for found in formulas if found.content and _is_formula(found.content)]
    number = _last(_NUMBER, text)
    if formulas and (number is None or number.start() < formulas[-1].end):
        return last_list(text, formulas)
    return number.group().strip() if number else None


def _is_formula(content: str) -> bool:
    """Whether what stands between two dollars is one: two sums of money have words between them."""
    return not any(len(word) > 3 for word in _WORD.findall(_NAMES_OF_BLOCKS.sub(" ", content)))


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = deque(pattern.finditer(text), maxlen=1)
    return found[0] if found else None
