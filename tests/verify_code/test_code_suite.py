import json

import pytest

from gppo.verify.code import AssertTests, BadTestsError, CallTests, StdinTests, choose, read_suite


def test_the_three_kinds():
    assert read_suite('{"inputs": ["1\\n2", ""], "outputs": ["3", "é"], "fn_name": null}') == StdinTests(
        (b"1\n2", b""), ("3", "é")
    )
    assert read_suite({"inputs": ['[1, 2]\n"a"\n', ""], "outputs": ["null", "[1.5]"], "fn_name": "f"}) == CallTests(
        "f", (([1, 2], "a"), ()), (None, [1.5])
    )
    assert read_suite({"inputs": ["[1]"], "outputs": ["[1]"], "fn_name": "f", "adapters": ["list"]}) == CallTests(
        "f", (([1],),), ([1],), ("list",)
    )
    assert read_suite({"asserts": ["assert f(1) == 2"], "names": ["f", "Solution.g"]}) == AssertTests(
        ("f", "Solution.g"), ("assert f(1) == 2",)
    )


@pytest.mark.parametrize(
    ("tests", "reason"),
    [
        ("{", "are not JSON"),
        ("[" * 100_000, "are nested too deep"),
        ("1" * 5000, "are a number of too many digits"),
        ("[]", "are not a JSON object"),
        ({}, "have no 'inputs'"),
        ({"inputs": [1], "outputs": ["1"]}, "have no 'inputs'"),
        ({"inputs": ["1"]}, "have no 'outputs'"),
        ({"inputs": ["1"], "outputs": []}, "have 1 inputs and 0 outputs"),
        ({"inputs": [], "outputs": []}, "are empty"),
        ({"inputs": ["1"], "outputs": ["1"], "fn_nam": "f"}, "have an unknown key 'fn_nam'"),
        ({"inputs": ["x"], "outputs": ["1"], "fn_name": "f"}, "have in input 0 an argument that is not JSON"),
        (
            {"inputs": ["[" * 160 + "]" * 160], "outputs": ["1"], "fn_name": "f"},
            "have in input 0 an argument that is nested",
        ),
        ({"inputs": ["1"], "outputs": ["x"], "fn_name": "f"}, "have an output 0 that is not JSON"),
        ({"inputs": ["1"], "outputs": ["1"], "fn_name": "f()"}, "have the fn_name 'f()'"),
        ({"inputs": ["1"], "outputs": ["1"], "fn_name": "f", "adapters": ["tre"]}, "have adapters"),
        ({"inputs": ["1"], "outputs": ["1"], "adapters": ["tree"]}, "have adapters or a prologue, but no fn_name"),
        ({"inputs": ["\ud800"], "outputs": ["1"]}, "have an input with half a surrogate pair"),
        ({"asserts": []}, "have no 'names'"),
        ({"asserts": [], "names": ["f"]}, "are empty"),
        ({"asserts": ["1"], "names": []}, "have no names"),
        ({"asserts": ["1"], "names": ["a b"]}, "have the name 'a b'"),
    ],
)
def test_what_cannot_be_used_says_why(tests, reason):
    with pytest.raises(BadTestsError) as error:
        read_suite(tests)
    assert str(error.value).startswith(reason)


def test_the_choice_depends_on_the_key_alone_and_keeps_the_order():
    inputs = [str(i) for i in range(100)]
    suite = read_suite(json.dumps({"inputs": inputs, "outputs": inputs}))
    chosen = choose(suite, 16, "0/p")
    assert chosen == choose(suite, 16, "0/p")
    assert chosen != choose(suite, 16, "1/p")
    assert chosen != choose(suite, 16, "0/q")
    numbers = [int(text) for text in chosen.outputs]
    assert len(numbers) == 16
    assert numbers == sorted(set(numbers))
    assert [int(text) for text in chosen.inputs] == numbers
    assert choose(suite, None, "") is suite
    assert choose(suite, 100, "") is suite
    asserts = read_suite({"asserts": inputs, "names": ["f"]})
    assert len(choose(asserts, 3, "x")) == 3
