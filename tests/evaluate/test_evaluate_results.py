"""Lines of results and the evaluation that they make."""

import numpy as np
import pytest

from gppo.evaluate.results import evaluation_of, result_of
from gppo.types import Problem, Rollout, SamplingSettings, Verdict


def problem(name="p0", ability="math"):
    return Problem(name, ({"role": "user", "content": "1+1?"},), ability, "2", extra={"difficulty": "easy"})


def rollout(sample=0, text="said", finish="stop", tokens=3):
    return Rollout("p0", sample, np.zeros(2), np.zeros(tokens, dtype=np.int64), np.zeros(tokens), text, finish)


@pytest.mark.parametrize(
    ("verdict", "finish", "format_ok", "correct"),
    [
        ("correct", "stop", True, True),
        ("correct", "length", True, False),
        ("correct", "stop", False, False),
        ("wrong", "stop", True, False),
        ("infra", "stop", True, False),
    ],
)
def test_what_counts_as_correct(verdict, finish, format_ok, correct):
    result = result_of(problem(), rollout(finish=finish), Verdict(verdict, 0.0, "2", "rule"), format_ok=format_ok)
    assert result["correct"] is correct
    assert (result["verdict"], result["extracted"], result["rule"]) == (verdict, "2", "rule")
    assert (result["id"], result["sample"], result["tokens"], result["response"]) == ("p0", 0, 3, "said")
    assert result["truncated"] is (finish == "length")


def test_an_evaluation_of_lines():
    said = [
        ("correct", "2", "stop", True),
        ("wrong", "3", "stop", True),
        ("correct", "2", "length", True),  # cut: no vote
        ("correct", "2.0", "stop", False),  # format broken: no vote, though the answer is right
        ("unparsable", None, "stop", True),
        ("wrong", "3.0", "stop", True),
        ("infra", "2", "stop", True),
        ("correct", "2.0", "stop", True),
    ]
    results = [
        result_of(problem(), rollout(i, finish=finish), Verdict(status, 0.0, answer), format_ok=ok)
        for i, (status, answer, finish, ok) in enumerate(said)
    ]
    found = evaluation_of("x", 3, SamplingSettings(), [problem()], results)
    assert found.votes_PK.tolist() == [[0, 1, -1, -1, -1, 1, -1, 0]]
    assert found.correct_PK.tolist() == [[True, False, False, False, False, False, False, True]]
    assert found.valid_PK.tolist() == [[True] * 6 + [False, True]]
    assert found.truncated_PK.sum() == 1
    assert (found.problem_ids, found.difficulty, found.step) == (("p0",), ("easy",), 3)


def test_programs_cast_no_votes_and_nothing_makes_an_empty_evaluation():
    results = [result_of(problem(ability="code"), rollout(), Verdict("correct", 1.0, "print()"))]
    assert evaluation_of("x", 0, SamplingSettings(), [problem(ability="code")], results).votes_PK is None
    assert evaluation_of("x", 0, SamplingSettings(), [], []).correct_PK.shape == (0, 0)
