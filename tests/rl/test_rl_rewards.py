"""The table of rewards: who earns what, and who counts as correct."""

import math

import numpy as np
import pytest
from rl_builders import THOUGHT, problem, rollout, verdict

from gppo.config import OverlongConfig, RewardConfig
from gppo.rl.rewards import make_group, reward_parts

UNTAGGED = "\\boxed{7}"


def parts_of(
    answer, judged, *, ability="math", opened=False, limit=100, reward: dict | None = None, overlong: dict | None = None
):
    return reward_parts(
        problem(ability=ability),
        answer,
        judged,
        RewardConfig(**(reward or {})),
        OverlongConfig(**(overlong or {})),
        prompt_opened=opened,
        max_response_tokens=limit,
    )


def total(*args, **kwargs) -> float:
    return sum(parts_of(*args, **kwargs).values())


@pytest.mark.parametrize(
    ("text", "finish_reason", "status", "expected"),
    [
        (THOUGHT, "stop", "correct", 1.0),
        (THOUGHT, "stop", "wrong", -1.0),
        (THOUGHT, "stop", "timeout", -1.0),
        (THOUGHT, "stop", "unparsable", -1.5),
        (UNTAGGED, "stop", "correct", -1.5),  # right, but without its think tags
        ("<think>3+4", "stop", "unparsable", -1.5),
        (THOUGHT, "length", "correct", -1.0),  # cut: never right
        ("<think>3+4", "length", "unparsable", -1.5),
    ],
)
def test_math(text, finish_reason, status, expected):
    assert total(rollout(text, finish_reason=finish_reason), verdict(status)) == expected


def test_a_judge_that_failed_gives_nan_and_never_a_wrong_answer():
    parts = parts_of(rollout("no tags", finish_reason="length"), verdict("infra"), overlong={"soft_buffer": 10})
    assert set(parts) == {"task", "format", "overlong"}
    assert all(math.isnan(value) for value in parts.values())


@pytest.mark.parametrize(
    ("way", "four_of_16", "all_16", "none", "unparsable"),
    [
        ("pass_rate", 0.25, 1.0, 0.0, -0.5),
        ("signed", -0.5, 1.0, -1.0, -1.5),
        ("all_or_nothing", 0.0, 1.0, 0.0, -0.5),
    ],
)
def test_code(way, four_of_16, all_16, none, unparsable):
    def earned(status, score):
        return total(rollout(), verdict(status, score), ability="code", reward={"code": way})

    assert earned("wrong", 4 / 16) == four_of_16
    assert earned("correct", 1.0) == all_16
    assert earned("wrong", 0.0) == none
    assert earned("unparsable", 0.0) == unparsable


@pytest.mark.parametrize("way", ["pass_rate", "signed"])
def test_a_truncated_program_earns_the_lowest_whatever_it_passes(way):
    cut = total(rollout(finish_reason="length"), verdict("wrong", 0.5), ability="code", reward={"code": way})
    assert cut == {"pass_rate": 0.0, "signed": -1.0}[way]


def test_thinking_may_be_opened_by_the_prompt_or_not_asked_for():
    assert total(rollout("3+4=7</think>7"), verdict(), opened=True) == 1.0
    assert total(rollout("3+4=7</think>7"), verdict(), opened=False) == -1.5
    assert total(rollout(UNTAGGED), verdict(), reward={"require_thinking": False}) == 1.0
    assert total(rollout("7"), verdict("unparsable"), reward={"require_thinking": False}) == -1.5
    assert total(rollout(UNTAGGED), verdict(), reward={"format_penalty": 2.0}) == -3.0


@pytest.mark.parametrize(("length", "penalty"), [(1, 0), (80, 0), (81, -0.1), (90, -1.0), (100, -2.0), (130, -2.0)])
def test_the_soft_penalty_grows_over_the_buffer(length, penalty):
    parts = parts_of(rollout(length=length), verdict(), overlong={"soft_buffer": 20, "soft_penalty": 2.0})
    assert parts["overlong"] == pytest.approx(penalty)
    assert parts["task"] == 1.0


def test_correct_means_right_whole_and_in_format():
    cases = [
        (rollout(), verdict(), True),
        (rollout(), verdict("wrong"), False),
        (rollout(UNTAGGED), verdict(), False),
        (rollout(finish_reason="length"), verdict(), False),
        (rollout(), verdict("infra"), False),
        (rollout(length=100), verdict(), True),  # long, and right all the same
    ]
    rollouts, verdicts, expected = zip(*cases, strict=True)
    parts = [parts_of(r, v, overlong={"soft_buffer": 50}) for r, v in zip(rollouts, verdicts, strict=True)]
    made = make_group(problem(), rollouts, verdicts, parts)
    assert made.correct_G.tolist() == list(expected)
    np.testing.assert_allclose(made.rewards_G, [1, -1, -1.5, -1, np.nan, 0])
