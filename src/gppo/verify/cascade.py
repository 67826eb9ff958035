"""Whether a predicted answer equals the reference answer: cheap and exact first, computer algebra last.

The cascade, in order; the first rule that can tell decides, and the verdict names it:

1. the same text, after spelling both in one way;
2. units: written on both sides they must agree, on one side only they are left out;
3. names before the value (``x =``) go where they say nothing;
4. numerals with a base, ratios, times of day, decimal commas;
5. letters and words;
6. values: exact fractions, numbers to 77 digits and more, identities at several points;
7. sets of real numbers, equations and inequalities;
8. tuples, intervals, lists and matrices, element by element;
9. math-verify, in a worker process only.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from gppo.verify.equality import same_value
from gppo.verify.expression import Node, names_of
from gppo.verify.normal import normalise, squash
from gppo.verify.numerals import base_numeral, decimal_comma, is_clock_time, last_digit, ratio_values, same_ratio
from gppo.verify.prefix import without_names
from gppo.verify.reader import read_expression
from gppo.verify.realset import is_plainly_a_set, read_real_set, same_set
from gppo.verify.relation import operators_of, same_relation
from gppo.verify.structure import Structure, compare_structures, read_structure
from gppo.verify.words import compare_words

UNREADABLE = "answer cannot be read"
NOT_COMPARABLE = "answer cannot be compared"
MEMORY_LIMIT = "memory limit"

# Computer algebra on two normalised texts: (equal, rule), with None for an answer that cannot be read.
Symbolic = Callable[[str, str], tuple[bool | None, str]]
Decision = tuple[bool | None, str]

_MAX_PLAIN_CHARS = 1000
_MAX_DEPTH = 6
_SIMPLE_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?")
_OPEN = (None, "")


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

    equal, rule = _Cascade(symbolic_equal).compare(gold, predicted)
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
    equal, rule = _Cascade(None).compare(gold, predicted)
    return None if equal is None else (equal, rule)


class _Cascade:
    """The rules in order, with computer algebra at the end where it is given."""

    def __init__(self, symbolic: Symbolic | None) -> None:
        self._symbolic = symbolic
        self._depth = 0

    def compare(self, gold: str, predicted: str) -> Decision:
        first, second = normalise(gold), normalise(predicted)
        if not first.text or not second.text:
            return False, UNREADABLE if not second.text else "reference is empty"
        if first.unit and second.unit and first.unit != second.unit:
            return False, "units differ"
        return self._texts(first.text, second.text)

    def _texts(self, gold: str, predicted: str) -> Decision:
        if squash(gold) == squash(predicted):
            return True, "same text"
        gold, predicted = without_names(gold, predicted)
        if squash(gold) == squash(predicted):
            return True, "same text"
        for rule in (_numerals, compare_words, _values, _sets, _relations):
            equal, name = rule(gold, predicted)
            if equal is not None:
                return equal, name
        equal, name = self._structures(gold, predicted)
        if equal is not None:
            return equal, name
        return self._symbolic(gold, predicted) if self._symbolic else _OPEN

    def _structures(self, gold: str, predicted: str) -> Decision:
        first, second = read_structure(gold), read_structure(predicted)
        if first is None and second is None:
            return _OPEN
        if first is None or second is None:
            alone, other = (first, predicted) if first is not None else (second, gold)
            if alone is not None and alone.brackets == "{}" and len(alone.items) == 1:
                return self._one(alone.items[0], other)
            if alone is not None and len(alone.items) > 1 and read_expression(other) is not None:
                return False, "one value against several"
        else:
            first, second = _flat(first, second), _flat(second, first)
            if _in_other_order(first, second):
                return False, "order of a list"
        return compare_structures(first, second, lambda a, b: self._one(a, b)[0]), "elements"

    def _one(self, gold: str, predicted: str) -> Decision:
        if self._depth >= _MAX_DEPTH:
            return _OPEN
        self._depth += 1
        try:
            return self.compare(gold, predicted)
        finally:
            self._depth -= 1


def _numerals(gold: str, predicted: str) -> Decision:
    texts = squash(gold), squash(predicted)
    if any("_" in text for text in texts):
        first, second = base_numeral(texts[0]), base_numeral(texts[1])
        if (first and first[1]) or (second and second[1]):
            return first == second, "numeral with a base"
        if first and second:
            return first == second, "numeral in base ten"
    if is_clock_time(gold) and is_clock_time(predicted):
        return False, "time of day"
    ratios = ratio_values(gold), ratio_values(predicted)
    if ratios[0] and ratios[1]:
        return same_ratio(ratios[0], ratios[1]), "ratio"
    for ratio, other in ((ratios[0], predicted), (ratios[1], gold)):
        if ratio and len(ratio) == 2:
            node = read_expression(other)
            if node is not None and not names_of(node):
                quotient = Node("/", (Node("number", value=ratio[0]), Node("number", value=ratio[1])))
                return same_value(quotient, node)[0], "ratio"
    for comma, point in (texts, texts[::-1]):
        number = decimal_comma(comma)
        if number and re.fullmatch(r"[-+]?\d*\.\d+", point):
            return Fraction(number) == Fraction(point), "decimal comma"
    return _OPEN


def _values(gold: str, predicted: str) -> Decision:
    first = read_expression(gold)
    second = read_expression(predicted) if first is not None else None
    if first is None or second is None:
        return _OPEN
    return same_value(first, second, last_digit(gold) or last_digit(predicted))


def _sets(gold: str, predicted: str) -> Decision:
    if not (is_plainly_a_set(gold) or is_plainly_a_set(predicted)):
        return _OPEN
    first, second = read_real_set(gold), read_real_set(predicted)
    if first is not None and second is not None:
        return same_set(first, second), "set of real numbers"
    for found, other in ((first, predicted), (second, gold)):
        if found is not None and read_expression(other) is not None:
            return False, "one value against a set"
    return _OPEN


def _relations(gold: str, predicted: str) -> Decision:
    first, second = operators_of(gold), operators_of(predicted)
    if first and second:
        return same_relation(gold, predicted), "relation"
    for operators, other in ((first, predicted), (second, gold)):
        if operators and "," not in gold + predicted and read_expression(other) is not None:
            return False, "relation against a value"
    return _OPEN


def _flat(structure: Structure, other: Structure) -> Structure:
    """A list of lists without brackets as one list, where the other side groups nothing: ``x=1, y=2; x=3, y=4``."""
    inner = [read_structure(item) for item in structure.items]
    grouped = [found is not None and not found.brackets for found in inner]
    if structure.brackets or other.brackets or not all(grouped) or any("," in item for item in other.items):
        return structure
    return Structure("", tuple(item for found in inner if found for item in found.items))


def _in_other_order(first: Structure, second: Structure) -> bool:
    """Whether two bare lists hold the same three numbers or more in different orders, neither of them sorted.

    A list of solutions is a set, and mostly sorted by one side at least; an unsorted one says an order.
    """
    if first.brackets or second.brackets or len(first.items) < 3 or len(first.items) != len(second.items):
        return False
    one, other = (_plain_numbers(structure.items) for structure in (first, second))
    if one is None or other is None or one == other or sorted(one) != sorted(other):
        return False
    return not any(numbers in (sorted(numbers), sorted(numbers, reverse=True)) for numbers in (one, other))


def _plain_numbers(items: tuple[str, ...]) -> list[Fraction] | None:
    texts = [squash(item) for item in items]
    found = [Fraction(text) for text in texts if re.fullmatch(r"-?(?:\d+\.?\d*|\.\d+)", text)]
    return found if len(found) == len(texts) else None
