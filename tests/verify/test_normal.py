import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.verify.normal import normalise, squash
from gppo.verify.prefix import Named, split_prefix
from gppo.verify.structure import Structure, read_structure, split_items


@pytest.mark.parametrize(
    ("answer", "text", "unit"),
    [
        ("$5$", "5", ""),
        (r"\(5\)", "5", ""),
        (r"\$5", "5", "dollar"),
        ("**5**", "5", ""),
        ("5.", "5", ""),
        (r"\dfrac12", r"\frac{1}{2}", ""),
        (r"\frac1{2}", r"\frac{1}{2}", ""),
        (r"\frac{1}2", r"\frac{1}{2}", ""),
        (r"\\frac{1}{2}", r"\frac{1}{2}", ""),
        (r"\sqrt3", r"\sqrt{3}", ""),
        ("sqrt(3)", r"\sqrt{3}", ""),
        (r"\left( 1 \right)", "( 1 )", ""),
        ("1,000", "1000", ""),
        ("1{,}000", "1000", ""),
        (r"1,\!000", "1000", ""),
        (r"1\,000", "1000", ""),
        ("1 000", "1000", ""),
        ("0,111", "0,111", ""),
        ("(100,200)", "(100,200)", ""),
        ("1, 2", "1, 2", ""),
        (r"\text{Evelyn}", "Evelyn", ""),
        (r"6 \text{ and } 8", "6 , 8", ""),
        (r"25\%", "25%", ""),
        (r"25 \text{ percent}", "25%", ""),
        (r"36^\circ", "36", "degree"),
        ("74°", "74", "degree"),
        (r"5\text{ cm}", "5", "cm"),
        (r"5\text{ centimeters}", "5", "cm"),
        (r"5\mbox{ cm}^2", "5", "cm^2"),
        (r"5\text{ square units}", "5", ""),
        ("5 apples", "5", ""),
        ("12 square inches", "12", "in^2"),
        (r"15\text{ m/s}", "15", "m/s"),
        (r"15\text{ km per hour}", "15", "km/h"),
        ("€5", "5", "euro"),
        ("5页", "5", ""),
        ("2 xy", "2 xy", ""),
        (r"\sin 30^\circ", r"\sin 30^{\circ}", ""),
        ("√12", r"\sqrt{12}", ""),
        ("1 4/5", r"1\frac{4}{5}", ""),
        ("5cm", "5", "cm"),
        ("5d", "5d", ""),
        (r"2\mathrm{e}", "2e", ""),
        (r"\text{4:30 p.m.}", "4:30", "pm"),
        ("3 million", r"3\cdot 10^{6}", ""),
        ("−5", "-5", ""),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", ""),
    ],
)
def test_spelling(answer, text, unit):
    normal = normalise(answer)
    assert (normal.text, normal.unit) == (text, unit)


@given(st.text())
def test_any_text_is_normalised(text):
    normal = normalise(text)
    assert normal.text == normal.text.strip()


@pytest.mark.parametrize(("text", "squashed"), [("( 1 , 2 )", "(1,2)"), ("1 2", "1 2"), ("2 x", "2x"), ("a b", "a b")])
def test_squash(text, squashed):
    assert squash(text) == squashed


@pytest.mark.parametrize(
    ("text", "structure"),
    [
        ("(1, 2)", Structure("()", ("1", "2"))),
        ("[0,1)", Structure("[)", ("0", "1"))),
        (r"\{1, 2\}", Structure("{}", ("1", "2"))),
        (r"\{1\}", Structure("{}", ("1",))),
        ("1, 2", Structure("", ("1", "2"))),
        ("1; 2", Structure("", ("1", "2"))),
        ("{1, 2}", Structure("", ("1", "2"))),
        ("(1,2), (3,4)", Structure("", ("(1,2)", "(3,4)"))),
        (r"\pm 2", Structure("", ("2", "- 2"))),
        (r"\langle 1, 2 \rangle", Structure("()", ("1", "2"))),
        (r"(0,1) \cup (2,3)", Structure("u", ("(0,1)", "(2,3)"))),
        ("]0,1[", Structure("()", ("0", "1"))),
        ("x=1,y=2; x=3,y=4", Structure("", ("x=1,y=2", "x=3,y=4"))),
        (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", Structure("2x2", ("1", "2", "3", "4"))),
        (r"\begin{vmatrix}1&2\\3&4\end{vmatrix}", None),
        (r"\pm 1 \pm 2", Structure("", ("1 + 2", "1 - 2", "- 1 + 2", "- 1 - 2"))),
        (r"1 \pm 2 \mp 3", Structure("", ("1 + 2 - 3", "1 - 2 + 3"))),
        ("(5)", None),
        ("5", None),
        ("(1, 2", None),
        ("", None),
    ],
)
def test_structure(text, structure):
    assert read_structure(text) == structure


def test_items_of_unbalanced_text_stay_whole():
    assert split_items("(1, 2") == ["(1, 2"]
    assert split_items("1), (2") == ["1), (2"]


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("x = 5", "x", "5"),
        ("x_{12} = 5", "x_12", "5"),
        ("f(x) = 5", "f(x)", "5"),
        ("(p, q) = (3, 2)", "(p,q)", "(3, 2)"),
        (r"x \in [0, 1]", "x", "[0, 1]"),
        ("AB = 4", "AB", "4"),
        ("x = y = 5", "x", "5"),
        (r"x = \frac{1}{3} \approx 0.33", "x", r"\frac{1}{3}"),
        (r"\angle ABC = 30", "?", "30"),
        ("m + n = 5", "?", "5"),
        ("2 + 3 = 5", "?", "5"),
        ("2x = 5", "", "2x = 5"),
        ("x + y = 5", "", "x + y = 5"),
        ("7 = 11a+c", "", "7 = 11a+c"),
        ("AB = 4, CD = 5", "", "AB = 4, CD = 5"),
        ("5", "", "5"),
    ],
)
def test_prefix(text, name, value):
    assert split_prefix(text) == Named(name, value)
