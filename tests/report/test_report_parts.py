import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.report.charts import Series, curves, moving_average
from gppo.report.numbers import compact, count, duration, number, percent, points, small_percent
from gppo.report.page import embedded_json
from gppo.report.samples import shorten, split_thinking

PROMPT = "<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("prompt", "response", "expected"),
    [
        (PROMPT, "42", ("", "42", True)),
        (PROMPT, "<think>a</think>\n42", ("a", "42", True)),
        (PROMPT + "<think>\n", "a\n</think>\n\n42", ("a", "42", True)),
        (PROMPT, "<think>a</think>b</think>42", ("a</think>b", "42", True)),  # the last tag counts
        (PROMPT, "<think>a", ("a", "", False)),
        (PROMPT + "<think>\n", "a \\boxed{42}", ("a \\boxed{42}", "", False)),
        ("<think>x</think> " + PROMPT, "42", ("", "42", True)),  # an earlier turn's thinking is closed
    ],
)
def test_split_thinking(prompt, response, expected):
    assert split_thinking(prompt, response) == expected


def test_long_text_gives_way_in_the_middle():
    text = "a" * 5000 + "b" * 5000
    short = shorten(text, 100)
    assert short.startswith("a" * 50)
    assert short.endswith("b" * 50)
    assert "9,900 characters left out" in short
    assert shorten(text, 10_000) == text


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5))
def test_embedded_json_is_inert_and_the_same_value(value):
    text = embedded_json(value)
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text) == value


def test_embedded_json_refuses_nan():
    with pytest.raises(ValueError, match="JSON"):
        embedded_json({"x": math.nan})


def test_numbers_as_text():
    assert [percent(value) for value in (0.1234, 1, None, math.nan)] == ["12.3", "100.0", "–", "–"]
    assert [points(value) for value in (0.5, -0.031)] == ["+50.0", "−3.1"]
    assert [small_percent(value) for value in (0, 0.00042, 0.052, 0.5)] == ["0 %", "0.042 %", "5.2 %", "50.0 %"]
    assert [duration(value) for value in (1.25, 41, 200, 7500)] == ["1.2 s", "41 s", "3 min 20 s", "2 h 5 min"]
    assert count(1234567) == "1,234,567"
    assert [compact(value) for value in (-1.5, 1e-06, 12.25)] == ["−1.5", "1e-06", "12.25"]
    assert number(True) is None


def test_curves_leave_out_what_is_missing():
    rows = [{"step": 1, "a": 0.5}, {"step": 2, "a": None}, {"step": 3, "a": 0.25}]
    chart = curves("x", "X", "", rows, [Series("a", "A", "--accent"), Series("b", "B", "--accent")], share=True)
    (trace,) = chart.figure["data"]
    assert (trace["x"], trace["y"]) == ([1, 3], [0.5, 0.25])
    assert chart.alt == "X. A: 50.00 % at step 1, 25.00 % at step 3."
    assert curves("x", "X", "", rows, [Series("b", "B", "--accent")]) is None


def test_many_points_get_a_moving_average():
    rows = [{"step": step, "a": float(step % 2)} for step in range(100)]
    raw, smooth = curves("x", "X", "", rows, [Series("a", "A", "--accent")]).figure["data"]
    assert raw["y"] == [row["a"] for row in rows]
    assert max(smooth["y"][10:-10]) - min(smooth["y"][10:-10]) < 0.2


def test_moving_average_by_hand():
    assert moving_average([0.0, 3.0, 6.0, 9.0], 3) == [1.5, 3.0, 6.0, 7.5]
