"""Whether a predicted answer equals the reference answer: cheap and exact first, computer algebra last.

The cascade, in order; the first rule that can tell decides:

1. the same text, after spelling both in one way;
2. units: written on both sides they must agree, on one side only they are left out;
3. exact values of plain arithmetic, as fractions (never rounded);
4. numerals with a base, choice letters and words;
5. tuples, intervals, sets and lists, element by element;
6. math-verify, in a worker process only.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from gppo.verify.arithmetic import exact_value, is_clock_time, last_digit, ratio_value
from gppo.verify.normal import normalise, squash
from gppo.verify.structure import compare_structures, read_structure, split_prefix

UNREADABLE = "answer cannot be read"
NOT_COMPARABLE = "answer cannot be compared"
MEMORY_LIMIT = "memory limit"

# Computer algebra on two normalised texts: (equal, rule), with None for an answer that cannot be read.
Symbolic = Callable[[str, str], tuple[bool | None, str]]

_MAX_PLAIN_CHARS = 1000
_SIMPLE_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?")
_BASE_NUMERAL = re.compile(r"([0-9A-Za-z]+)_(?:\{(\d{1,2})\}|(\d))")
_LETTER = re.compile(r"\(?\s*([A-Za-z])\s*\)?")
_WORDS = re.compile(r"(?=.*[^\W\d_]{4})[^\W\d_]+(?:[ '-][^\W\d_]+)*")
_NOTHING = re.compile(r"(?:there (?:is|are) )?no (?:real )?solutions?|\\emptyset", re.IGNORECASE)


def compare(gold: str, predicted: str) -> tuple[bool, str]:
    """Whether two answers are equal, and the rule that decided. Imports sympy where it must: for worker processes.

    Args:
        gold: the reference answer, LaTeX or plain text.
        predicted: the answer as found in the response.

    This can take without end on hostile input; ``JudgePool`` gives it a deadline and a memory limit.
    """
    decided = compare_plain(gold, predicted)
    if decided is not None:
        return decided
    from gppo.verify.symbolic import symbolic_equal  # half a second and 60 MB that plain answers never need

    equal, rule = _cascade(gold, predicted, symbolic_equal)
    return bool(equal), rule


def compare_plain(gold: str, predicted: str) -> tuple[bool, str] | None:
    """The part of ``compare`` that needs no computer algebra; None where it cannot tell. Safe and quick anywhere."""
    gold, predicted = gold.strip(), predicted.strip()
    if gold == predicted and gold:
        return True, "same text"
    if _SIMPLE_NUMBER.fullmatch(gold) and _SIMPLE_NUMBER.fullmatch(predicted):
        return Fraction(gold) == Fraction(predicted), "exact value"
    if max(len(gold), len(predicted)) > _MAX_PLAIN_CHARS:
        return None
    equal, rule = _cascade(gold, predicted, None)
    return None if equal is None else (equal, rule)


def _cascade(gold: str, predicted: str, symbolic: Symbolic | None) -> tuple[bool | None, str]:
    first, second = normalise(gold), normalise(predicted)
    if not second.text:
        return (False, UNREADABLE) if not first.text or symbolic is None else (None, UNREADABLE)
    if first.unit and second.unit and first.unit != second.unit:
        return False, "units differ"
    return _compare_texts(first.text, second.text, symbolic)


def _compare_texts(gold: str, predicted: str, symbolic: Symbolic | None) -> tuple[bool | None, str]:
    if squash(gold) == squash(predicted):
        return True, "same text"
    gold, predicted = _without_names(gold, predicted)
    for rule in (_compare_values, _compare_words):
        equal, name = rule(gold, predicted)
        if equal is not None:
            return equal, name
    equal = compare_structures(
        read_structure(gold), read_structure(predicted), lambda a, b: _cascade(a, b, symbolic)[0]
    )
    if equal is not None:
        return equal, "elements"
    return symbolic(gold, predicted) if symbolic else (None, "")


def _without_names(gold: str, predicted: str) -> tuple[str, str]:
    """Leave out ``x =`` where one side has it, or both have the same name."""
    gold_name, gold_value = split_prefix(gold)
    predicted_name, predicted_value = split_prefix(predicted)
    if gold_name and predicted_name and gold_name != predicted_name:
        return gold, predicted
    if (gold_name and not predicted_name and "=" in predicted) or (predicted_name and not gold_name and "=" in gold):
        return gold, predicted
    return gold_value, predicted_value


def _compare_values(gold: str, predicted: str) -> tuple[bool | None, str]:
    if squash(gold) == squash(predicted):
        return True, "same text"
    first, second = exact_value(gold), exact_value(predicted)
    if first is not None and second is not None:
        tolerance = last_digit(gold) or last_digit(predicted)
        close = tolerance is not None and first.denominator != 1 and abs(first - second) <= tolerance
        return first == second or close, "exact value"
    if is_clock_time(gold) and is_clock_time(predicted):
        return False, "time of day"
    first_ratio, second_ratio = ratio_value(gold), ratio_value(predicted)
    if first_ratio is not None or second_ratio is not None:
        first, second = first_ratio or first, second_ratio or second
        if first is not None and second is not None:
            return first == second, "ratio"
    return None, ""


def _compare_words(gold: str, predicted: str) -> tuple[bool | None, str]:
    numerals = [_BASE_NUMERAL.fullmatch(squash(text)) for text in (gold, predicted)]
    if any(match and match[1][0].isdigit() for match in numerals):
        first, second = (match and (match[1].lstrip("0").upper(), match[2] or match[3]) for match in numerals)
        return first == second, "numeral with a base"
    letters = [_LETTER.fullmatch(text) for text in (gold, predicted)]
    if letters[0] and letters[1]:
        return letters[0][1] == letters[1][1], "letter"
    if _NOTHING.fullmatch(gold) and _NOTHING.fullmatch(predicted):
        return True, "no solution"
    if _WORDS.fullmatch(gold) and _WORDS.fullmatch(predicted):
        return gold.casefold() == predicted.casefold(), "words"
    return None, ""
