"""The line of metrics and the saved rollouts of a step."""

import json

import numpy as np
import pytest
from rl_builders import group, rl_config

from gppo.rl.batch import make_batch
from gppo.rl.collect import Experience
from gppo.rl.record import rollout_rows, step_metrics
from gppo.rl.update import Update
from gppo.run import read_rollouts, write_rollouts

NAN = float("nan")


def experience(groups, kept) -> Experience:
    parts = [[{"task": float(r), "format": 0.0, "overlong": 0.0} for r in g.rewards_G] for g in groups]
    return Experience(groups, parts, kept, len(groups), 1.5, 0.5)


def update_of(batch, learned_B=None) -> Update:
    """Fields that say which row and token they belong to."""
    rows_B, tokens_T = np.arange(len(batch)), np.arange(batch.mask_BT.shape[1])
    marked_BT = (100 * rows_B[:, None] + tokens_T).astype(np.float32)
    learned_B = np.ones(len(batch), dtype=bool) if learned_B is None else learned_B
    old_BT = batch.sampled_logprobs_BT - 1000 * (rows_B[:, None] == 0).astype(np.float32)  # row 0 was computed anew
    return Update({}, -marked_BT, old_BT, marked_BT, marked_BT / 1000, learned_B)


def test_metrics_are_over_all_groups():
    groups = [
        group([1, -1], "a", lengths=[2, 4], truncated=[1]),
        group([1, 1], "b", lengths=[6, 8]),
        group([-1, NAN], "c"),
        group([NAN, NAN], "d"),
    ]
    line = step_metrics(experience(groups, groups[:1]), opened=False)
    assert line["reward_mean"] == pytest.approx((1 - 1 + 1 + 1 - 1) / 5)
    assert line["reward_std"] == pytest.approx(np.std([1, -1, 1, 1, -1]))
    assert line["correct_share"] == pytest.approx(3 / 5)
    assert line["infra_share"] == pytest.approx(3 / 8)
    assert line["truncated_share"] == pytest.approx(1 / 8)
    assert line["thinking_share"] == 1
    assert line["length_mean"] == pytest.approx((2 + 4 + 6 + 8 + 4 * 3) / 8)
    assert line["response_tokens"] == 32
    assert line["groups_kept"] == 1
    assert line["groups_all_correct"] == 1
    assert line["groups_all_wrong"] == 1  # a group that nobody judged is not wrong
    assert (line["seconds_generate"], line["seconds_judge"]) == (1.5, 0.5)


def test_a_step_without_any_judged_response():
    groups = [group([NAN, NAN])]
    line = step_metrics(experience(groups, []), opened=False)
    assert np.isnan(line["reward_mean"])
    assert np.isnan(line["correct_share"])
    assert line["infra_share"] == 1


def test_rows_carry_the_fields_of_their_own_tokens(tmp_path):
    groups = [group([1, 1], "dropped"), group([1, -1], "kept", lengths=[2, 3])]
    seen = experience(groups, groups[1:])
    batch = make_batch(seen.kept, seen.dropped_correct, rl_config())
    rows = rollout_rows(seen, batch, update_of(batch), step=3, stage="math")
    assert [(row.problem_id, row.sample) for row in rows] == [("dropped", 0), ("dropped", 1), ("kept", 0), ("kept", 1)]
    assert [row.update_logprobs is None for row in rows] == [True, True, False, False]
    assert rows[2].entropy.tolist() == [0, 1]
    assert rows[3].entropy.tolist() == [100, 101, 102]
    assert rows[3].update_logprobs.tolist() == [-100, -101, -102]
    assert rows[2].old_logprobs.tolist() == (rows[2].sampled_logprobs - 1000).tolist()
    assert [row.old_logprobs is None for row in rows] == [True, True, False, True]  # None: the sampled ones
    assert [row.advantage for row in rows] == [0, 0, 1, -1]
    assert json.loads(rows[3].reward_parts) == {"task": -1, "format": 0, "overlong": 0}
    write_rollouts(tmp_path, 3, rows)
    back = read_rollouts(tmp_path, 3)
    assert [row.reward for row in back] == [1, 1, 1, -1]
    assert back[3].coefficient.tolist() == rows[3].coefficient.tolist()


def test_all_correct_groups_that_learned_are_shown_with_their_tokens():
    groups = [group([1, 1], "right"), group([1, -1], "kept")]
    seen = experience(groups, groups[1:])
    config = rl_config(lm_loss={"include_dropped_groups": True})
    batch = make_batch(seen.kept, seen.dropped_correct, config)
    rows = rollout_rows(seen, batch, update_of(batch), step=1, stage="math")
    first_tokens = {(row.problem_id, row.sample): row.entropy[0] for row in rows}
    assert first_tokens == {("kept", 0): 0, ("kept", 1): 100, ("right", 0): 200, ("right", 1): 300}


def test_rows_that_no_update_saw_have_no_token_fields():
    groups = [group([1, -1, 0], truncated=[1])]
    seen = experience(groups, groups)
    batch = make_batch(groups, [], rl_config(overlong={"filter": True}))
    rows = rollout_rows(seen, batch, update_of(batch, np.array([True, False, True])), step=1, stage="math")
    assert [row.coefficient is None for row in rows] == [False, True, False]
    nothing = rollout_rows(seen, None, None, step=1, stage="math")
    assert [row.coefficient for row in nothing] == [None] * 3


def test_parts_that_are_nan_become_null():
    groups = [group([1, NAN])]
    rows = rollout_rows(experience(groups, []), None, None, step=1, stage="math")
    assert json.loads(rows[1].reward_parts)["task"] is None
    assert np.isnan(rows[1].reward)


@pytest.mark.parametrize("zero_advantage", ["drop", "keep"])
def test_no_group_is_learned_from_twice(zero_advantage):
    """With 'keep', or where a length penalty tells all-correct responses apart, such a group is kept already."""
    right = group([1, 1], "right")
    penalised = group([1, 0.5], "penalised", correct=[True, True])
    kept = [right, penalised] if zero_advantage == "keep" else [penalised]
    seen = experience([right, penalised], kept)
    batch = make_batch(seen.kept, seen.dropped_correct, rl_config(lm_loss={"include_dropped_groups": True}))
    assert len(batch) == 4
    assert int(batch.group_B.max()) == 1
