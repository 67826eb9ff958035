"""What must hold for generated answers of every notation: x is x, both ways round, rewritten, and not when changed."""

from collections.abc import Callable
from fractions import Fraction

import hypothesis
import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st

from gppo.verify import MathJudge

WHOLE = st.integers(-50, 50)
POSITIVE = st.integers(1, 50)
FRACTIONS = st.fractions(min_value=-20, max_value=20, max_denominator=40)


def given(*strategies: st.SearchStrategy) -> Callable:
    """Hypothesis's own, fewer examples and no deadline: the first answer that needs computer algebra waits for it."""
    return lambda test: settings(deadline=None, max_examples=50)(hypothesis.given(*strategies)(test))


@pytest.fixture(scope="module")
def judge():
    with MathJudge(timeout=20.0) as judge:
        yield judge


def check(judge: MathJudge, answer: str, rewritten: str, changed: str) -> None:
    pairs = [(answer, answer), (answer, rewritten), (rewritten, answer), (answer, changed), (changed, answer)]
    verdicts = list(judge.imap((gold, rf"so \boxed{{{said}}}.") for gold, said in pairs))
    expected = ["correct"] * 3 + ["wrong"] * 2
    assert [verdict.status for verdict in verdicts] == expected, (answer, rewritten, changed, verdicts)
    assert all(verdict.rule for verdict in verdicts)


def frac(value: Fraction, command: str = "frac") -> str:
    sign = "-" if value < 0 else ""
    return rf"{sign}\{command}{{{abs(value.numerator)}}}{{{value.denominator}}}"


def plus(value: object) -> str:
    """A number as a term that follows another."""
    text = str(value)
    return text if text.startswith("-") else f"+{text}"


# Each draws (answer, the same written otherwise, another answer).


@st.composite
def expression(draw: Callable, depth: int = 3) -> tuple[str, str]:
    """An expression in x and y, and a rewriting by commuting, doubling signs, brackets and fractions over one."""
    if depth == 0:
        leaf = draw(st.sampled_from(["x", "y", r"\pi", r"\sqrt{2}", "3", "7", r"\frac{2}{3}", "x^{2}"]))
        return leaf, draw(st.sampled_from([leaf, f"({leaf})", f"{{{leaf}}}", rf"\frac{{{leaf}}}{{1}}", f"-(-{leaf})"]))
    one, one_again = draw(expression(depth - 1))
    other, other_again = draw(expression(depth - 1))
    return draw(
        st.sampled_from(
            [
                (f"({one}+{other})", f"({other_again}+{one_again})"),
                (f"({one}-{other})", f"(-({other_again})+{one_again})"),
                (f"({one})({other})", rf"({other_again}) \cdot ({one_again})"),
                (rf"\frac{{{one}}}{{{other}+11}}", rf"({one_again})/(11+{other_again})"),
                (f"({one})^2", f"({one_again})({one_again})"),
                (rf"\sin({one})", rf"-\sin(-({one_again}))"),
                (rf"2^{{{one}}}", rf"2 \cdot 2^{{{one_again}-1}}"),
            ]
        )
    )


@given(expression())
def test_expressions(judge, pair):
    answer, rewritten = pair
    check(judge, answer, rewritten, f"{rewritten}+1")


@given(FRACTIONS, st.integers(2, 9))
def test_fractions(judge, value, factor):
    more = rf"\dfrac{{{value.numerator * factor}}}{{{value.denominator * factor}}}"
    check(judge, frac(value), more, frac(value + Fraction(1, 97)))


@given(st.integers(-(10**6), 10**6), st.integers(0, 999))
def test_decimals(judge, whole, thousandths):
    assume(whole or thousandths)
    text = f"{whole}.{thousandths:03d}"
    check(judge, text, f"{whole:,}.{thousandths:03d}0", f"{whole}.{thousandths:03d}1")


@given(st.integers(1000, 10**9))
def test_thousands(judge, number):
    check(judge, str(number), f"{number:,}".replace(",", r"\,"), f"{number + 1:,}")


@given(POSITIVE, st.fractions(min_value=Fraction(1, 20), max_value=Fraction(19, 20), max_denominator=20))
def test_mixed_numbers(judge, whole, part):
    mixed = rf"{whole}\frac{{{part.numerator}}}{{{part.denominator}}}"
    check(judge, mixed, frac(whole + part), frac(whole * part))


@given(st.integers(1, 998))
def test_repeating_decimals(judge, period):
    check(judge, rf"0.\overline{{{period:03d}}}", frac(Fraction(period, 999)), f"0.{period:03d}")


@given(st.integers(10, 99), st.integers(-12, 12))
def test_scientific_notation(judge, digits, power):
    answer = rf"{digits / 10} \times 10^{{{power}}}"
    check(judge, answer, f"{digits / 10}e{power}", rf"{digits / 10} \times 10^{{{power + 1}}}")


@given(POSITIVE)
def test_percent(judge, number):
    check(judge, rf"{number}\%", str(number / 100), str(number))


@given(POSITIVE, st.sampled_from([("cm", "centimeters"), ("kg", "kilograms"), ("hours", "hr")]))
def test_units(judge, number, unit):
    check(judge, rf"{number}\text{{ {unit[0]}}}", f"{number} {unit[1]}", f"{number} miles")


@given(POSITIVE, st.integers(3, 16))
def test_bases(judge, number, base):
    digits, left = "", number
    while left:
        digits, left = "0123456789ABCDEF"[left % base] + digits, left // base
    check(judge, f"{digits}_{{{base}}}", rf"{digits} \text{{ (base {base})}}", f"{digits}_{{{base - 1}}}")


@given(WHOLE, st.integers(2, 30).filter(lambda n: n**0.5 % 1), st.integers(2, 5))
def test_radicals(judge, whole, root, factor):
    answer = rf"{whole}+\sqrt{{{root * factor * factor}}}"
    check(judge, answer, rf"{factor}\sqrt{{{root}}}{plus(whole)}", rf"{factor}\sqrt{{{root}}}{plus(-whole - 1)}")


@given(st.integers(2, 9), st.integers(2, 9))
def test_logarithms(judge, base, number):
    check(
        judge, rf"\log_{{{base}}} {number}", rf"\frac{{\ln {number}}}{{\ln {base}}}", rf"\log_{{{base}}} {number + 1}"
    )


@given(st.lists(WHOLE, min_size=2, max_size=5), st.integers(-5, 5).filter(bool))
def test_polynomials(judge, roots, factor):
    coefficients = [Fraction(factor)]
    for root in roots:
        shifted = [*coefficients, Fraction(0)]
        coefficients = [a - root * b for a, b in zip(shifted, [Fraction(0), *coefficients], strict=True)]
    degree = len(roots)
    expanded = "".join(f"{plus(c)}x^{{{degree - i}}}" for i, c in enumerate(coefficients)).lstrip("+")
    factored = f"{factor}" + "".join(f"(x{plus(-root)})" for root in roots)
    check(judge, factored, expanded, f"{expanded}+1")


@given(WHOLE, WHOLE)
def test_complex_numbers(judge, real, imaginary):
    assume(imaginary)
    check(judge, f"{real}{plus(imaginary)}i", f"{imaginary}i{plus(real)}", f"{real}{plus(-imaginary)}i")


@given(st.lists(FRACTIONS, min_size=2, max_size=5, unique=True))
def test_tuples(judge, values):
    answer = "(" + ",".join(map(frac, values)) + ")"
    other = r"\left(" + r",\; ".join(frac(v, "tfrac") for v in values) + r"\right)"
    check(judge, answer, other, "(" + ",".join(map(frac, reversed(values))) + ")")


@given(st.lists(WHOLE, min_size=2, max_size=6, unique=True), st.randoms())
def test_sets(judge, values, random):
    shuffled = random.sample(values, len(values))
    answer = r"\{" + ", ".join(map(str, values)) + r"\}"
    check(
        judge, answer, r"\{" + ",".join(map(str, shuffled)) + r"\}", r"\{" + ",".join(map(str, shuffled[1:])) + ",51\\}"
    )


@given(st.lists(WHOLE, min_size=2, max_size=6, unique=True))
def test_lists(judge, values):
    answer = ", ".join(map(str, values))
    joined = r" \text{ and } ".join(map(str, sorted(values)))
    check(judge, answer, joined, ", ".join(map(str, [*sorted(values)[1:], 51])))


@given(WHOLE, POSITIVE)
def test_plus_or_minus(judge, middle, distance):
    both = f"{middle + distance}, {middle - distance}"
    check(judge, rf"{middle} \pm {distance}", both, str(middle + distance))


@given(FRACTIONS, FRACTIONS, st.sampled_from(["()", "[]", "[)", "(]"]))
def test_intervals(judge, one, other, brackets):
    assume(one != other)
    low, high = sorted((one, other))
    left, right = (r"\le" if bracket in "[]" else "<" for bracket in brackets)
    interval = f"{brackets[0]}{frac(low)}, {frac(high)}{brackets[1]}"
    changed = {"(": "[", "[": "("}[brackets[0]] + interval[1:]
    check(judge, interval, f"{frac(low)} {left} x {right} {frac(high)}", changed)


@given(st.lists(WHOLE, min_size=4, max_size=4, unique=True))
def test_unions(judge, ends):
    a, b, c, d = sorted(ends)
    answer = rf"[{a},{b}) \cup ({c},{d}]"
    check(judge, answer, rf"{c} < x \le {d} \text{{ or }} {a} \le x < {b}", rf"[{a},{c}) \cup ({c},{d}]")


@given(WHOLE, WHOLE, WHOLE, st.integers(-9, 9).filter(bool))
def test_equations(judge, a, b, c, factor):
    assume(a and b)
    answer = f"{a}x{plus(b)}y={c}"
    rewritten = f"{c * factor}-({a * factor}x{plus(b * factor)}y)=0"
    check(judge, answer, rewritten, f"{a}x{plus(b)}y={c + 1}")


@given(WHOLE, POSITIVE)
def test_inequalities(judge, bound, factor):
    check(judge, f"x > {bound}", f"{-factor}x < {-factor * bound}", f"{factor}x < {factor * bound}")


@given(st.integers(1, 3), st.integers(2, 3), st.data())
def test_matrices(judge, rows, columns, data):
    cells = data.draw(st.lists(WHOLE, min_size=rows * columns, max_size=rows * columns))

    def matrix(kind: str, cells: list[int]) -> str:
        lines = [" & ".join(map(str, cells[i * columns : (i + 1) * columns])) for i in range(rows)]
        return rf"\begin{{{kind}}}" + r" \\ ".join(lines) + rf"\end{{{kind}}}"

    check(judge, matrix("pmatrix", cells), matrix("bmatrix", cells), matrix("pmatrix", [cells[0] + 1, *cells[1:]]))


@given(st.sampled_from("ABCDE"), st.sampled_from("ABCDE"))
def test_choices(judge, letter, other):
    assume(letter != other)
    check(judge, letter, rf"\textbf{{({letter})}}", f"({other})")


@given(st.lists(st.sampled_from(["ellipse", "odd", "Monday", "Evelyn", "circle"]), min_size=1, max_size=3))
def test_words(judge, words):
    text = " ".join(words)
    check(judge, rf"\text{{{text}}}", text.upper() + ".", rf"\text{{{text} east}}")


@given(FRACTIONS, st.sampled_from(["x", "a_1", r"\theta", "f(x)", "AB"]))
def test_names(judge, value, name):
    check(judge, frac(value), f"{name} = {frac(value)}", f"{name} = {frac(value + 1)}")
