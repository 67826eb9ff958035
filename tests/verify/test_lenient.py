import pytest

from gppo.verify.lenient import is_bare, stated_answer
from gppo.verify.math import MathJudge, verify
from gppo.verify.reference import read_reference


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"First \boxed{3}. So \boxed{4}", "4"),
        (r"\boxed{41}. Wait, \boxed{42}", "42"),
        (r"\boxed{41} \boxed{42}", "42"),
        (r"\boxed{41}, no, \boxed{42}", "42"),
        (r"$\boxed{1}$ and $\boxed{2}$", "1, 2"),
        (r"$\boxed{1}$, $\boxed{2}$, $\boxed{3}$", "1, 2, 3"),
        (r"\boxed{-2} \quad \text{and} \quad \boxed{1}", "-2, 1"),
        (r"\boxed{255} is one part. Final Answer: The final answer is $10,455$. I hope it is correct.", "$10,455$"),
        ("The answer is 12.", "12"),
        ("Final Answer: The largest $n$ is 34.", "34"),
        ("Answer: x^2+1", "x^2+1"),
        ("The final answer is $1$ and $2$.", "$1$ and $2$"),
        (r"The solution is \( x \in (-6, 10) \).", r"x \in (-6, 10)"),
        ("We find that $x < 3$.", "x < 3"),
        ("It costs $10,000 + $200 = $10,200.", "10,200"),
        ("the number is not 10 which is 1,000.99€", "1,000.99"),
        ("There are 12 such sequences. I hope it is correct.", "12"),
        ("因此，一共有**858颗**糖果。", "858"),
        ("Some steps.\n#### 18", "18"),
        (r"\frac{10}{9}", r"\frac{10}{9}"),
        ("28 percent", "28 percent"),
        ("Evelyn", "Evelyn"),
        ("I do not know what to say about this at all.", None),
        ("", None),
    ],
)
def test_what_is_stated_last(text, answer):
    assert stated_answer(text) == answer


@pytest.mark.parametrize(
    ("gold", "reference"),
    [
        ("4", "4"),
        (r"so \boxed{4}.", "4"),
        (r"\(\boxed{1}\) and \(\boxed{-2}\).", "1, -2"),
        (r"\boxed{1}\boxed{2}", "1, 2"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"or $\boxed{20}$ percent.", r"20\%"),
        (r"\boxed{x = 1", "x = 1"),
        ("She sells 18 eggs.\n#### 18", "18"),
        ("The answer is no", "The answer is no"),
    ],
)
def test_references(gold, reference):
    assert read_reference(gold) == reference


def test_bare_answers():
    assert is_bare(r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}")
    assert is_bare("12 miles")
    assert not is_bare("There are 12 of them")
    assert not is_bare("")


def test_only_the_lenient_judge_guesses():
    assert verify("12", "The answer is 12.").status == "unparsable"
    assert verify("12", "The answer is 12.", lenient=True).correct
    assert verify("1, 2", r"\boxed{1} and \boxed{2}").status == "wrong"
    assert verify("1, 2", r"\boxed{1} and \boxed{2}", lenient=True).correct
    assert verify("41", r"\boxed{41}. Wait, \boxed{42}", lenient=True).status == "wrong"
    assert verify("12", "<think>The answer is 12.", lenient=True).status == "unparsable"
    with MathJudge(lenient=True) as judge:
        assert [
            v.rule
            for v in judge.imap([("12", "12"), ("12", "I have no idea at all what to say about this one, sorry")])
        ] == [
            "same text",
            "no answer found",
        ]


def test_a_percent_sign_after_the_box_counts_where_it_is_asked_for():
    assert verify(r"28\%", r"$\boxed{28}\%$").correct
    assert verify(r"28\%", r"\boxed{28} percent").correct
    assert verify("28", r"\boxed{28}\%").correct  # the problem says "what percent"
    assert verify(r"28\%", r"\boxed{28}").status == "wrong"
