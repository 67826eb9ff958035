from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.verify.equality import same_value
from gppo.verify.expression import names_of
from gppo.verify.numerals import base_numeral, is_clock_time, last_digit, ratio_values, same_ratio
from gppo.verify.reader import read_expression
from gppo.verify.values import Evaluation, NoValueError


def exact(text: str) -> Fraction | None:
    node = read_expression(text)
    if node is None:
        return None
    try:
        value = Evaluation().value(node)
    except NoValueError:
        return None
    return value if isinstance(value, Fraction) else None


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
        ("2^-3", Fraction(1, 8)),
        (r"1.5 \times 10^{3}", Fraction(1500)),
        ("1.5e3", Fraction(1500)),
        ("5!", Fraction(120)),
        (r"\binom{10}{3}", Fraction(120)),
        (r"\sqrt{\frac{9}{16}}", Fraction(3, 4)),
        (r"\sqrt[3]{\frac{-8}{27}}", Fraction(-2, 3)),
        ("8^{2/3}", Fraction(4)),
        ("12.5%", Fraction(1, 8)),
        (r"6 \div 4", Fraction(3, 2)),
        ("|2-5|", Fraction(3)),
        ("||2-5|-1|", Fraction(2)),
        (r"\lfloor 7/2 \rfloor", Fraction(3)),
        (r"\lceil \sqrt{10} \rceil", Fraction(4)),
        (r"\sin 0", Fraction(0)),
    ],
)
def test_exact(text, value):
    assert exact(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "2x", "1 2", "(1", "1)", "1+", "1/0", r"\frac{1}{0}", "0^0", "0^{-1}", r"\sqrt{2}", r"\sqrt{-4}",
        "2^{0.5}", "(-1)!", "2.5!", "9^{9^{9^9}}", "10000000!", "((9!)!)!", "1e9999", "2^{1000000000}",
        r"\binom{100000000}{50000000}", "(" * 100 + "1" + ")" * 100, "1" * 1001, "__import__('os')", "1,2",
    ],
)  # fmt: skip
def test_no_exact_value(text):
    assert exact(text) is None


@pytest.mark.parametrize(
    "text", ["1/2x", "f(x)", "a(b)", r"\int x", r"\sum_{k=1}^{n} k", "x=1", "x;y", r"\foo", "f'(x)", "2^", r"\frac{1}"]
)
def test_what_has_no_one_meaning_is_not_read(text):
    assert read_expression(text) is None


def test_names():
    node = read_expression(r"a_1 x + \alpha_{2} e^{i\pi} - B")
    assert node is not None
    assert names_of(node) == {"a_1", "x", "alpha_2", "B"}


@given(st.fractions(), st.fractions())
def test_agrees_with_fractions(first, second):
    def latex(value):
        return rf"\frac{{{value.numerator}}}{{{value.denominator}}}"

    assert exact(latex(first)) == first
    assert exact(f"{latex(first)} + {latex(second)}") == first + second
    assert exact(rf"({latex(first)}) \cdot ({latex(second)})") == first * second


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**9), max_value=10**9))
def test_decimals_are_not_rounded(number):
    assert exact(f"{number:f}") == Fraction(number)


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        (r"\pi", r"\pi+10^{-50}", False),
        (r"\pi", r"\pi+10^{-500}", False),
        (r"\sqrt{2}", r"\sqrt{2}(1+10^{-90})", False),
        (r"\sqrt{2}\sqrt{3}-\sqrt{6}", "0", True),
        (r"\sqrt{2}\sqrt{3}-\sqrt{6}", "10^{-80}", False),
        (r"\frac{1}{\cos\frac{\pi}{2}}", "1", None),  # one over nothing
        (r"\sqrt{x^2}", "x", False),
        (r"\sqrt{x^2}", "|x|", True),
        (r"\ln x^2", r"2\ln x", True),  # wherever both are real
        (r"\arcsin x", r"\frac{\pi}{2}-\arccos x", True),
        (r"\sqrt{x^2-400}", r"\sqrt{x-20}\sqrt{x+20}", True),
        ("n!", "n", None),
        ("x^{50}", r"x^{49}\cdot x", True),
        (r"\log_28", "3", True),
        (r"\tan\frac{\pi}{2}", "1", False),
        ("9^{9^{9^9}}", "1", None),
    ],
)
def test_same_value(first, second, equal):
    one, other = read_expression(first), read_expression(second)
    assert one is not None
    assert other is not None
    assert same_value(one, other)[0] is equal
    assert same_value(other, one)[0] is equal


def test_ratios_times_and_bases():
    assert ratio_values("3:4") == (3, 4)
    assert ratio_values("3 to 4") == (3, 4)
    assert ratio_values("3:0") is None
    assert ratio_values("3") is None
    assert same_ratio((Fraction(1), Fraction(2), Fraction(3)), (Fraction(2), Fraction(4), Fraction(6)))
    assert not same_ratio((Fraction(1), Fraction(2)), (Fraction(1), Fraction(2), Fraction(3)))
    assert is_clock_time("4:30")
    assert not is_clock_time("3:4")
    assert base_numeral("1011_2") == ("1011", "2")
    assert base_numeral("29_{10}") == ("29", "")
    assert base_numeral("a_1") is None
    assert base_numeral("19_5") == ("19", "5")  # five has no digit nine: equal to nothing but itself


def test_only_many_digits_stand_for_an_exact_value():
    assert last_digit("0.0833333333333333") == Fraction(1, 10**16)
    assert last_digit("0.083333") is None
    assert last_digit("83333333333333") is None
