"""Tokens by the side of the clip range they are on, against a step counted by hand."""

import math

import numpy as np
import pytest

from gppo.reproduce.tokens import REGIONS, token_shares
from gppo.run.rollouts import RolloutRow, write_rollouts


def row(sample, advantage, old, ratios, entropy, coefficient, *, anew=False):
    count = len(ratios)
    sampled = np.log(np.array(old, dtype=np.float32))
    return RolloutRow(
        step=1,
        stage="math",
        problem_id="p",
        sample=sample,
        prompt_text="",
        response_text="",
        prompt_ids=np.array([1], dtype=np.int32),
        response_ids=np.arange(count, dtype=np.int32),
        sampled_logprobs=np.full(count, -9.0, dtype=np.float32) if anew else sampled,
        old_logprobs=sampled if anew else None,
        update_logprobs=sampled + np.log(np.array(ratios, dtype=np.float32)),
        entropy=np.array(entropy, dtype=np.float32),
        advantage=advantage,
        coefficient=np.array(coefficient, dtype=np.float32),
        reward=0.0,
        reward_parts="{}",
        finish_reason="stop",
        verdict="wrong",
        extracted=None,
        rule="",
        ground_truth="",
        difficulty="",
    )


def test_a_step_counted_by_hand(tmp_path):
    rows = [
        row(0, 1.0, [0.1, 0.5, 0.9], [1.5, 1.0, 0.5], [2.0, 0.1, 0.2], [0.3, 0.2, 0.1]),
        row(1, -1.0, [0.2, 0.4, 0.8], [1.4, 0.7, 0.9], [0.3, 0.4, 0.5], [-0.3, -0.2, -0.1], anew=True),
        row(2, 0.0, [0.5], [9.0], [9.0], [0.0]),  # without an advantage: clipping has nothing to say of it
    ]
    write_rollouts(tmp_path, 1, rows)
    found = {line["region"]: line for line in token_shares(tmp_path)}
    assert list(found) == list(REGIONS)
    assert {region: line["tokens"] for region, line in found.items()} == {
        "A > 0, above": 1,
        "A > 0, below": 1,
        "A < 0, above": 1,
        "A < 0, below": 1,
        "within": 2,
    }
    high = found["A > 0, above"]
    assert high["pull"] == pytest.approx(0.3)
    assert high["entropy"] == pytest.approx(2.0)
    assert high["probability"] == pytest.approx(0.1)
    # Of six tokens the uncertain fifth begins at the 0.8 quantile of 0.1, 0.2, 0.3, 0.4, 0.5, 2.0, which is 0.5.
    assert high["uncertain"] == 1
    assert found["within"]["uncertain"] == 1
    assert found["A < 0, below"]["pull"] == pytest.approx(0.2)
    assert found["A < 0, below"]["probability"] == pytest.approx(0.4)  # by the probabilities computed anew
    assert found["within"]["pull"] == pytest.approx(0.3)


def test_the_range_is_the_papers(tmp_path):
    edges = [1.27, 1.29, 0.81, 0.79]
    write_rollouts(tmp_path, 1, [row(0, 1.0, [0.5] * 4, edges, [1.0] * 4, [0.1] * 4)])
    found = {line["region"]: line["tokens"] for line in token_shares(tmp_path)}
    assert (found["A > 0, above"], found["A > 0, below"], found["within"]) == (1, 1, 2)
    assert math.isclose(sum(found.values()), 4)


def test_nothing_learned_is_nothing_counted(tmp_path):
    assert sum(line["tokens"] for line in token_shares(tmp_path)) == 0
