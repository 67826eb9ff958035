import pytest

from gppo.evaluate.voting import vote_classes


@pytest.mark.parametrize(
    ("answers", "right", "wanted"),
    [
        (["7", "7.0", "8", None, "07"], "rr--r", [0, 0, 1, -1, 0]),
        (["1/2", "0.5", r"\frac{1}{2}", "2"], "----", [0, 0, 0, 1]),  # equal to each other, though none is right
        (["x", "3", "x"], "-r-", [0, 1, 0]),
        ([None, None], "--", [-1, -1]),
        (["5", "5"], "r-", [0, 1]),  # never one class of right and wrong
        (["(1,2)", "[1,2]", "(1, 2)"], "---", [0, 1, 0]),
        ([r"\int_0^1 x dx", "1/2", r"\int_0^1 x dx"], "---", [0, 1, 0]),  # only computer algebra could tell
        ([], "", []),
    ],
)
def test_equal_answers_are_one_class(answers, right, wanted):
    assert vote_classes(answers, [sign == "r" for sign in right]).tolist() == wanted
