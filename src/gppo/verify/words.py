"""Answers that are letters or words: choices, yes and no, names, "no solution"."""

import re

_LETTER = re.compile(r"\(?\s*([A-Za-z])\s*\)?\.?")
_CHOICE = re.compile(
    r"(?:(?:option|choice|answer)\s*)?\(?\s*([A-J])\s*(?:\)|[.:](?=\s)|\)\s*[.:])\s*\S.*|(?:option|choice)\s*\(?([A-J])\)?",
    re.IGNORECASE,
)
_WORDS = re.compile(r"(?=.*[^\W\d_]{2})[^\W\d_]+(?:[ ,.'-]+[^\W\d_]+)*")
_LONG = re.compile(r"[^\W\d_]{4}")
_NOTHING = re.compile(
    r"(?:there (?:is|are) )?(?:no|none) ?(?:real |integer |valid |such )*(?:solutions?|roots?|values?|numbers?)?"
    r"(?: exists?)?"
    r"|\\emptyset|the empty set|empty set|empty",
    re.IGNORECASE,
)
_ABSENT = re.compile(r"dne|(?:the limit )?does not exist|undefined|not defined|doesn't exist|diverges", re.IGNORECASE)
_EMPHASIS = re.compile(r"\b(?:the|a|an|is|are|it|answer)\b")


def compare_words(gold: str, predicted: str) -> tuple[bool | None, str]:
    """Compare two normalised texts as letters or words; None where they are something else."""
    letters = [_LETTER.fullmatch(text) for text in (gold, predicted)]
    if letters[0] and letters[1]:
        return letters[0][1] == letters[1][1], "letter"
    for letter, other in ((letters[0], predicted), (letters[1], gold)):
        choice = _CHOICE.fullmatch(other) if letter else None
        if letter and choice and letter[1].isupper():
            return letter[1] == (choice[1] or choice[2]).upper(), "choice with its text"
    for synonyms, rule in ((_NOTHING, "no solution"), (_ABSENT, "does not exist")):
        if synonyms.fullmatch(gold) and synonyms.fullmatch(predicted):
            return True, rule
    if _WORDS.fullmatch(gold) and _WORDS.fullmatch(predicted):
        equal = _plain(gold) == _plain(predicted)
        if equal or _LONG.search(gold) or _LONG.search(predicted):
            return equal, "words"
    return None, ""  # two or three letters may be a product


def _plain(text: str) -> str:
    words = re.sub(r"[^\w]+", " ", text.casefold())
    return " ".join(_EMPHASIS.sub(" ", words).split()) or words.strip()
