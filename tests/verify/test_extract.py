import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.verify import extract_answer
from gppo.verify.extract import find_boxes, last_box


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{42}.", "42"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{41}. Wait, \boxed{42}", "42"),
        (r"\boxed{1},\boxed{2}", "2"),
        (r"\boxed{1}\boxed{2}", "2"),
        (r"\fbox{7}", "7"),
        (r"\boxed{7} or \fbox{8}", "8"),
        (r"\boxed { 7 }", "7"),
        (r"\\boxed{7}", "7"),
        (r"\boxed 5", "5"),
        (r"$\boxed 5$ apples", "5"),
        (r"\boxed -3.5.", "-3.5"),
        (r"\boxed x", "x"),
        (r"\boxed{5} and \boxed 6", "6"),
        (r"\boxed{\text{so } \boxed{5}}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{1\right\}}", r"\left\{1\right\}"),
        (r"} { \boxed{3}", "3"),
        (r"\boxed{41} then \boxed{42", "41"),
        (r"\boxed{42", None),
        (r"\boxed", None),
        (r"\boxed{}", ""),
        (r"\boxedly{5}", None),
        ("42", None),
        ("", None),
        ("\\boxed{5\0}", "5\0"),
    ],
)
def test_the_last_closed_box(text, answer):
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{" * 10_000, None),
        ("\\boxed{" * 10_000 + "1" + "}" * 10_000, "1"),
        ("\\" * 1_000_000, None),
        ("{" * 1_000_000, None),
        ("x" * 1_000_000 + r"\boxed{9}", "9"),
        (r"\boxed{1} " * 100_000 + r"\boxed{2}", "2"),
    ],
)
def test_long_texts_are_read_once(text, answer):
    assert extract_answer(text) == answer


PIECES = st.lists(st.sampled_from(["\\boxed", "\\fbox", "\\", "{", "}", "1", "x", " ", "unboxed", "%"]), max_size=12)


@given(PIECES.map("".join))
def test_the_short_way_to_the_last_box_is_the_long_way(text):
    boxes = find_boxes(text)
    assert last_box(text) == (boxes[-1] if boxes else None)


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="{}\\"), min_size=1))
def test_what_is_boxed_last_is_found(before, content):
    assert extract_answer(before + " \\boxed{" + content + "}") == content.strip()
