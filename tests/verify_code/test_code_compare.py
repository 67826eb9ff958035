import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.verify.code import same_text, same_value

GOLDEN = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "lcb_comparison.jsonl").read_text().splitlines()
]


@pytest.mark.parametrize("row", GOLDEN, ids=[f"{i}-{row['mode']}" for i, row in enumerate(GOLDEN)])
def test_lcb_mode_gives_the_recorded_verdict(row):
    if row["mode"] == "stdin":
        found = same_text(row["output"], row["expected"], "lcb")
    else:
        found = same_value(eval(row["returns"]), json.loads(row["expected"]), "lcb")
    assert found is row["lcb"]


@pytest.mark.parametrize(
    ("output", "expected", "lcb", "reward"),
    [
        ("a  b", "a b", False, True),  # runs of white space between words
        ("1  2", "1 2", True, True),
        ("1\n\n2", "1\n2", False, True),  # blank lines inside
        ("1\r\n2\r\n", "1\n2", True, True),
        ("Case 1.0", "Case 1", False, True),  # a number beside a word
        ("1_0", "10", True, False),  # Python's underscores are no number of a contest
        ("inf", "Infinity", True, False),
        ("١", "1", True, False),  # Arabic-Indic digit
        ("1 2", "1\n2", False, False),  # lines count in both
        ("1 2 3", "1 2", False, False),
        ("yes", "YES", False, False),
        ("nan", "NaN", False, False),
        ("sNaN", "1", False, False),
        ("0.30000000000000001", "0.3", False, False),
        ("1e0", "1", True, True),
        ("", "\n \n", True, True),
        ("a\x0bb", "a b", False, True),
    ],
)
def test_where_text_modes_agree_and_differ(output, expected, lcb, reward):
    assert same_text(output, expected, "lcb") is lcb
    assert same_text(output, expected, "reward") is reward


@pytest.mark.parametrize(
    ("value", "expected", "lcb", "reward"),
    [
        ([(1, 2)], "[[1, 2]]", False, True),  # tuples inside
        ((1, [2]), "[1, [2]]", True, True),
        ({1: 2}, '{"1": 2}', False, True),  # keys that JSON cannot hold
        ({None: 1, True: 2, 1.5: 3}, '{"null": 1, "true": 2, "1.5": 3}', False, True),
        ({1: 2, "1": 2}, '{"1": 2}', False, False),
        ({"a": (1, 2)}, '{"a": [1, 2]}', False, True),
        ({1, 2}, "[1, 2]", False, False),
        (True, "1", True, True),
        (1.0, "1", True, True),
        (1e30, "1000000000000000000000000000000", False, False),
        ("1", "1", False, False),
        (None, "null", True, True),
        ([], "{}", False, False),
        ({}, "[]", False, False),
    ],
)
def test_where_value_modes_agree_and_differ(value, expected, lcb, reward):
    assert same_value(value, json.loads(expected), "lcb") is lcb
    assert same_value(value, json.loads(expected), "reward") is reward


def test_tolerance_is_absolute_below_one_and_relative_above_and_for_reward_only():
    assert same_text("x 0.1000001", "x 0.1", "reward", 1e-6)
    assert same_text("1000000.5", "1000000", "reward", 1e-6)
    assert not same_text("1000002", "1000000", "reward", 1e-6)
    assert not same_text("0.1000001", "0.1", "lcb", 1e-6)
    assert same_value([1.0, {"a": 2.0000001}], [1, {"a": 2}], "reward", 1e-6)
    assert not same_value([1.1], [1], "reward", 1e-6)
    assert not same_value(float("nan"), 1.0, "reward", 1e-6)
    assert not same_value(float("inf"), 1.0, "reward", 1e-6)
    assert not same_value(10**400, 1.5, "reward", 1e-6)
    assert not same_text("1e999", "1e998", "reward", 1e-6)
    assert not same_value(True, 1.0000001, "reward", 1e-6)


def test_hostile_values_are_wrong_and_quick():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert not same_value(deep, [[1]], "reward")
    assert not same_value(deep, [[1]], "lcb")
    assert not same_value({10**5000: 1}, {"1": 1}, "reward")
    assert not same_text("1 " * 500_000, "1 2", "lcb")
    assert not same_text("1e999999999", "1", "lcb")
    assert not same_text("1e999999", "1e999998", "reward")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(json_values)
def test_a_value_equals_its_own_json_in_both_modes(value):
    expected = json.loads(json.dumps(value))
    assert same_value(value, expected, "reward")
    assert same_value(value, expected, "lcb")
    assert not same_value([value], expected, "reward") or expected == [expected]


@given(st.lists(st.lists(st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1), min_size=1)))
def test_white_space_never_matters_to_reward(rows):
    rng = random.Random(0)
    spaces = (" ", "  ", "\t", " \t ")
    loose = "\n\n".join(" " + "".join(token + rng.choice(spaces) for token in row) for row in rows) + "\r\n"
    assert same_text(loose, "\n".join(" ".join(row) for row in rows), "reward")


@given(st.text("1.e -\n x0", max_size=12), st.text("1.e -\n x0", max_size=12))
def test_what_lcb_accepts_reward_accepts_too(output, expected):
    """Over plain characters; the exceptions are Python's own spellings of numbers."""
    assert not same_text(output, expected, "lcb") or same_text(output, expected, "reward")
