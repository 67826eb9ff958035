import numpy as np
import pytest

from gppo.types import Problem, Rollout, UserError
from gppo.verify.cases import CaseJudge


def problem(name="p", answer="7", ability="math"):
    return Problem(name, ({"role": "user", "content": "?"},), ability, answer)


def said(text):
    return Rollout("p", 0, np.array([1]), np.array([2]), np.array([-1.0]), text, "stop")


@pytest.fixture(scope="module")
def judge():
    with CaseJudge() as judge:
        yield judge


def test_verdicts_come_in_the_order_of_the_cases(judge):
    cases = [
        (problem(), said("<think>x</think>\\boxed{7}"), False),
        (problem(), said("x</think>\\boxed{7}"), True),
        (problem(answer="8"), said("<think>x</think>\\boxed{7}"), False),
        (problem(), said("\\boxed{7}"), True),  # the prompt opened the thinking and nobody closed it
        (problem(), said("\\boxed{7}"), False),
        (problem(), said("7"), False),
        (problem(answer="x+1"), said("</think>\\boxed{1+x}"), True),
    ]
    expected = ["correct", "correct", "wrong", "unparsable", "correct", "unparsable", "correct"]
    assert [verdict.status for verdict in judge(cases)] == expected
    assert [verdict.status for verdict in judge(cases[::-1])] == expected[::-1]
    assert judge([]) == []


def test_a_flag_from_numpy_is_a_flag(judge):
    [verdict] = judge([(problem(), said("\\boxed{7}"), np.True_)])
    assert verdict.status == "unparsable"


def test_an_ability_that_nobody_can_judge(judge):
    with pytest.raises(UserError, match="problem sonnet has ability 'poetry', which no judge knows"):
        judge([(problem(), said("\\boxed{7}"), False), (problem("sonnet", ability="poetry"), said("x"), False)])
    with pytest.raises(UserError, match="problem sonnet"):
        judge.prepare([problem(), problem("sonnet", ability="poetry")])
    judge.prepare([problem()])
