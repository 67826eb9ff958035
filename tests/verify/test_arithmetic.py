from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.verify.arithmetic import exact_value, is_clock_time, last_digit, ratio_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", Fraction(42)),
        ("-0.50", Fraction(-1, 2)),
        (".25", Fraction(1, 4)),
        ("7.", Fraction(7)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"-\frac{3}{-4}", Fraction(3, 4)),
        ("3/4/2", Fraction(3, 8)),
        (r"0.\overline{3}", Fraction(1, 3)),
        (r"1.2\overline{34}", Fraction(1222, 990)),
        (r"1\frac{4}{5}", Fraction(9, 5)),
        (r"-1\frac{4}{5}", Fraction(-9, 5)),
        (r"2(3+4)", Fraction(14)),
        ("2+3*4", Fraction(14)),
        ("-2^2", Fraction(-4)),
        ("(-2)^2", Fraction(4)),
        ("2^{3^2}", Fraction(512)),
        ("2^3^2", Fraction(512)),
        ("2^{-3}", Fraction(1, 8)),
        (r"1.5 \times 10^{3}", Fraction(1500)),
        ("1.5e3", Fraction(1500)),
        ("5!", Fraction(120)),
        (r"\binom{10}{3}", Fraction(120)),
        (r"\sqrt{\frac{9}{16}}", Fraction(3, 4)),
        ("12.5%", Fraction(1, 8)),
        (r"6 \div 4", Fraction(3, 2)),
    ],
)
def test_exact(text, value):
    assert exact_value(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "2x", "1 2", "(1", "1)", "1+", "1/0", r"\frac{1}{0}", "0^0", "0^{-1}", r"\sqrt{2}", r"\sqrt{-4}",
        "2^{0.5}", "(-1)!", "2.5!", "9^{9^{9^9}}", "10000000!", "((9!)!)!", "1e9999", "2^{1000000000}",
        r"\binom{100000000}{50000000}", "(" * 100 + "1" + ")" * 100, "1" * 401, "__import__('os')", "1,2",
    ],
)  # fmt: skip
def test_no_value(text):
    assert exact_value(text) is None


@given(st.fractions(), st.fractions())
def test_agrees_with_fractions(first, second):
    def latex(value):
        return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"

    assert exact_value(latex(first)) == first
    assert exact_value(f"{latex(first)} + {latex(second)}") == first + second
    assert exact_value(rf"({latex(first)}) \cdot ({latex(second)})") == first * second


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_decimals_are_not_rounded(number):
    assert exact_value(f"{number:f}") == Fraction(number)


def test_ratios_and_times():
    assert ratio_value("3:4") == Fraction(3, 4)
    assert ratio_value("3 to 4") == Fraction(3, 4)
    assert ratio_value("3:0") is None
    assert ratio_value("3") is None
    assert is_clock_time("4:30")
    assert not is_clock_time("3:4")


def test_only_many_digits_stand_for_an_exact_value():
    assert last_digit("0.0833333333333333") == Fraction(1, 10**16)
    assert last_digit("0.083333") is None
    assert last_digit("83333333333333") is None
