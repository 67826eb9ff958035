"""From groups to padded rows, and from rows to mini-batches."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rl_builders import group, rl_config

from gppo.rl.batch import informative, make_batch, mini_batches

NAN = float("nan")


def test_groups_without_a_difference_teach_nothing():
    rewards = [[1, -1], [1, 1], [-1.5, -1.5], [1, NAN], [NAN, NAN], [0, 0.25]]
    groups = [group(values, str(i)) for i, values in enumerate(rewards)]
    assert [kept.problem.id for kept in informative(groups)] == ["0", "5"]
    assert informative([]) == []


def test_rows_are_padded_and_keep_their_order():
    first, second = group([1, -1], "a", lengths=[2, 4]), group([-1, 1], "b", lengths=[1, 3])
    batch = make_batch([first, second], [], rl_config())
    assert batch.mask_BT.astype(int).tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 1, 0]]
    assert batch.response_ids_BT.tolist() == [[1, 2, 0, 0], [1, 2, 3, 4], [1, 0, 0, 0], [1, 2, 3, 0]]
    np.testing.assert_allclose(batch.sampled_logprobs_BT[1], [-0.1, -0.2, -0.3, -0.4])
    assert batch.sampled_logprobs_BT.dtype == np.float32
    assert batch.sampled_logprobs_BT[2].tolist() == [np.float32(-0.1), 0, 0, 0]
    assert batch.advantages_B.tolist() == [1, -1, -1, 1]
    assert batch.group_B.tolist() == [0, 0, 1, 1]
    assert batch.correct_B.tolist() == [True, False, False, True]
    assert batch.policy_row_B.all()
    assert [len(prompt) for prompt in batch.prompt_ids] == [2] * 4


def test_what_the_judge_failed_on_has_no_part_in_the_policy_gradient():
    batch = make_batch([group([1, NAN, -1])], [], rl_config())
    assert batch.policy_row_B.tolist() == [True, False, True]
    assert batch.advantages_B.tolist() == [1, 0, -1]
    assert batch.correct_B.tolist() == [True, False, False]


@pytest.mark.parametrize(("keeps_truncated", "expected"), [(True, [True, True, True]), (False, [True, False, True])])
def test_the_overlong_filter(keeps_truncated, expected):
    config = rl_config(overlong={"filter": not keeps_truncated})
    batch = make_batch([group([1, -1, 0], truncated=[1])], [], config)
    assert batch.policy_row_B.tolist() == expected
    # Filtered rows still count for the others' advantages.
    np.testing.assert_allclose(batch.advantages_B, [1.224745, -1.224745, 0], atol=1e-6)


def test_groups_that_are_all_correct_can_join_for_the_lm_loss_alone():
    kept, right = group([1, -1], "a"), group([1, 1], "b")
    asked = rl_config(lm_loss={"include_dropped_groups": True})
    batch = make_batch([kept], [right], asked)
    assert batch.group_B.tolist() == [0, 0, 1, 1]
    assert batch.policy_row_B.tolist() == [True, True, False, False]
    assert batch.correct_B.tolist() == [True, False, True, True]
    assert batch.advantages_B.tolist() == [1, -1, 0, 0]
    assert len(make_batch([], [right], asked)) == 2
    for config in (rl_config(), rl_config(lm_loss={"alpha": 0, "include_dropped_groups": True})):
        assert len(make_batch([kept], [right], config)) == 2
        assert make_batch([], [right], config) is None


@given(
    groups=st.integers(1, 9),
    prompts=st.integers(1, 10),
    seed=st.integers(0, 99),
    step=st.integers(0, 9),
    epoch=st.integers(0, 3),
)
def test_mini_batches_hold_every_row_once_and_split_no_group(groups, prompts, seed, step, epoch):
    batch = make_batch([group([1, -1, 0], str(p)) for p in range(groups)], [], rl_config())
    parts = mini_batches(batch, prompts, seed=seed, step=step, epoch=epoch)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(batch)))
    sizes = [len(set(batch.group_B[part].tolist())) for part in parts]
    assert [len(part) for part in parts] == [3 * size for size in sizes]
    assert sizes[:-1] == [prompts] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= prompts
    again = mini_batches(batch, prompts, seed=seed, step=step, epoch=epoch)
    assert [part.tolist() for part in again] == [part.tolist() for part in parts]


def test_the_order_of_groups_changes_with_seed_step_and_epoch():
    batch = make_batch([group([1, -1], str(p)) for p in range(8)], [], rl_config())

    def order(**key):
        return tuple(part[0] for part in mini_batches(batch, 1, **({"seed": 0, "step": 0, "epoch": 0} | key)))

    assert len({order(), order(seed=1), order(step=1), order(epoch=1)}) == 4
