"""Comparison by computer algebra, behind math-verify. For worker processes only: it can hang, and grow without bound.

math-verify (https://github.com/huggingface/Math-Verify) reads LaTeX into sympy and knows sets, intervals, relations
and matrices. Its numeric comparison rounds to an absolute number of digits, which makes 1/2^99 equal to 1/2^98; so
decimals become exact fractions first, and numbers are compared here, relative to their size.
"""

import logging
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import sympy
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig
from math_verify import parse as read_latex
from math_verify import verify as same_expression

from gppo.verify.numerals import last_digit

# Its only messages: that timeouts are off (the pool kills instead), and which text could not be read.
logging.getLogger("math_verify").setLevel(logging.CRITICAL)

_DIGITS = 50
_SAME = sympy.Float("1e-40")
_DIFFERENT = sympy.Float("1e-20")


def symbolic_equal(gold: str, predicted: str) -> tuple[bool | None, str]:
    """Compare two normalised texts: whether they are equal, and what decided. None: the prediction cannot be read."""
    gold_expression, predicted_expression = _read(gold), _read(predicted)
    if predicted_expression is None:
        return None, "answer cannot be read"
    if gold_expression is None:
        return False, "reference cannot be read and the texts differ"
    tolerance = last_digit(gold) or last_digit(predicted)
    close = _numbers_close(gold_expression, predicted_expression, tolerance)
    if close is not None:
        return close, "numeric value"
    equal = same_expression(
        gold_expression,
        predicted_expression,
        numeric_precision=_DIGITS,
        allow_set_relation_comp=True,
        timeout_seconds=None,
    )
    return bool(equal), "symbolic"


@cache
def _extraction() -> Sequence[LatexExtractionConfig]:
    # units=False: its list of units holds the letters t, h, s, m, c, d, o, g and l, which are variables here.
    spelling = NormalizationConfig(basic_latex=True, malformed_operators=True, units=False, nits=False, boxed="none")
    return (LatexExtractionConfig(boxed_match_priority=-1, normalization_config=spelling),)


def _read(text: str) -> "sympy.Basic | sympy.MatrixBase | None":
    found = read_latex(f"${text}$", _extraction(), fallback_mode="no_fallback", parsing_timeout=None)
    return _exact(found[0]) if found else None


def _exact(expression: "sympy.Basic | sympy.MatrixBase") -> "sympy.Basic | sympy.MatrixBase":
    """Decimals as the fractions that they write, and the i of complex numbers as the imaginary unit."""
    exact = {number: sympy.Rational(str(number)) for number in expression.atoms(sympy.Float)}
    exact |= {
        symbol: sympy.I for symbol in expression.atoms(sympy.Symbol) if symbol.name == "i" and symbol.is_real is False
    }
    return expression.xreplace(exact) if exact else expression


def _numbers_close(gold: object, predicted: object, tolerance: Fraction | None) -> bool | None:
    """Whether two expressions without variables have the same value; None where that is not settled by 50 digits.

    ``tolerance`` is one unit in the last place of a decimal with so many digits that it stands for an exact value.
    """
    if not (isinstance(gold, sympy.Expr) and isinstance(predicted, sympy.Expr)):
        return None
    if gold.free_symbols or predicted.free_symbols or gold == predicted:
        return True if gold == predicted else None
    values = [gold.evalf(_DIGITS), predicted.evalf(_DIGITS)]
    if not all(value.is_number and value.is_finite for value in values):
        return None
    if any(number._prec < _DIGITS for value in values for number in value.atoms(sympy.Float)):
        return None  # digits were lost to cancellation: the value may be exactly zero
    difference = abs(values[0] - values[1]).evalf(_DIGITS)
    if tolerance is not None and difference <= sympy.Rational(tolerance.numerator, tolerance.denominator):
        return True
    scale = max(abs(value).evalf(_DIGITS) for value in values)
    if difference <= _SAME * scale:
        return True
    return False if difference > _DIFFERENT * scale else None
