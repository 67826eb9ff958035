import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.curate.normalise import normal_form, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  Find\n\tthe   SUM. ", "find the sum."),
        ("ﬁnd x", "find x"),  # the ligature is one character
        ("find\u00a0x\u3000now", "find x now"),  # no-break and ideographic space
        ("e\u0301", "\u00e9"),  # two spellings of é
        ("2⁵ + x⁻¹", "2^5 + x^-1"),
        ("log₂8", "log_28"),
        ("1½ cups", "1 1/2 cups"),
        ("3 − 5", "3 - 5"),
        ("", ""),
    ],
)
def test_normal_form(text, expected):
    assert normal_form(text) == expected


@pytest.mark.parametrize(("one", "other"), [("2⁵", "25"), ("1½", "11/2"), ("x+1", "x-1"), ("1,2", "12")])
def test_normal_form_keeps_apart_what_means_something_else(one, other):
    assert normal_form(one) != normal_form(other)


@given(st.text())
def test_normal_form_of_a_normal_form_is_itself(text):
    assert normal_form(normal_form(text)) == normal_form(text)


@given(st.lists(st.text("abcXYZ019+-", min_size=1), min_size=1), st.sampled_from([" ", "\n", " \t ", "\u2003"]))
def test_white_space_and_case_do_not_matter(parts, space):
    assert normal_form(space.join(parts).upper()) == " ".join(parts).lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 + 5 - 7", ["3", "+5", "-7"]),
        ("3 - 5 + 7", ["3", "-5", "+7"]),
        ("3−5+7", ["3", "-5", "+7"]),
        ("$x^{2}$", ["x", "^2"]),
        ("x ^ 2", ["x", "^2"]),
        (r"\frac{1}{2}x", ["frac", "1", "2", "x"]),
        ("It's 0.50, i.e. 1/2.", ["it", "s", "0.50", "i", "e", "1", "/2"]),
        ("a two-digit number on the x-axis: x-y", ["a", "two", "digit", "number", "on", "the", "x", "axis", "x", "-y"]),
        ("a 9-kilometer-long walk", ["a", "9", "kilometer", "long", "walk"]),
        ("Wow! Find 5! + (n+1)! for n!", ["wow", "find", "5", "!+n", "+1", "!for", "n!"]),
        ("x_1", ["x", "1"]),
        ("求 x 的值", ["求", "x", "的", "值"]),
        ("Größe", ["größe"]),
        ("x = -", ["x=-"]),
        ("?!", []),
        ("+-", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@given(st.text())
def test_words_do_not_depend_on_case_or_on_normalising_first(text):
    assert words(normal_form(text)) == words(text)


@given(st.lists(st.sampled_from(["sum", "of", "7", "+3", "x", "^2"]), min_size=1, max_size=20))
def test_words_joined_by_spaces_come_back(tokens):
    assert words(" ".join(["the", *tokens])) == ["the", *tokens]
