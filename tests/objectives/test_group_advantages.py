import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gppo.objectives import group_advantages, zero_advantage_groups
from gppo.types import UserError

NAN = np.nan


@pytest.mark.parametrize(
    ("std", "expected"),
    [
        # mean 2.5, squares 2.25 + 0.25 + 0.25 + 2.25 = 5
        ("population", np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(1.25)),
        ("sample", np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(5 / 3)),
        ("none", np.array([-1.5, -0.5, 0.5, 1.5])),
    ],
)
def test_hand_computed(std, expected):
    np.testing.assert_allclose(group_advantages(np.array([[1.0, 2.0, 3.0, 4.0]]), std)[0], expected, rtol=1e-15)


def test_groups_do_not_mix():
    rewards = np.array([[1, -1, -1, -1], [1, 1, 1, -1]], dtype=np.float32)
    root3 = np.sqrt(3)
    expected = [[root3, -1 / root3, -1 / root3, -1 / root3], [1 / root3, 1 / root3, 1 / root3, -root3]]
    advantages = group_advantages(rewards)
    np.testing.assert_allclose(advantages, expected)
    assert advantages.dtype == np.float64


def test_unjudged_members_are_left_out():
    advantages = group_advantages(np.array([[1.0, NAN, 0.0, NAN, 0.5]]))
    whole = group_advantages(np.array([[1.0, 0.0, 0.5]]))
    np.testing.assert_array_equal(advantages[0, [0, 2, 4]], whole[0])
    np.testing.assert_array_equal(advantages[0, [1, 3]], 0)


@pytest.mark.parametrize("std", ["population", "sample", "none"])
@pytest.mark.parametrize(
    "group",
    [
        [0.3, 0.3, 0.3, 0.3],
        [0.1 + 0.2, 0.3, 0.3, 0.3],  # equal but for rounding
        [NAN, 0.7, NAN, 0.7],
        [NAN, NAN, 1.0, NAN],
        [NAN, NAN, NAN, NAN],
        [1e6 / 3, 1e6 / 3, 1e6 / 3, 1e6 / 3],
    ],
)
def test_equal_rewards_give_exactly_zero(group, std):
    rewards = np.array([group])
    assert zero_advantage_groups(rewards).tolist() == [True]
    np.testing.assert_array_equal(group_advantages(rewards, std), 0.0)


def test_zero_advantage_groups_finds_them():
    rewards = np.array([[1, 1, 1], [1, 1, 0], [NAN, 1, 0], [0, 0, NAN]])
    assert zero_advantage_groups(rewards).tolist() == [True, False, False, True]


def test_no_groups():
    assert group_advantages(np.empty((0, 8))).shape == (0, 8)


def test_unknown_std():
    with pytest.raises(UserError, match="population, sample, none"):
        group_advantages(np.zeros((1, 2)), "unbiased")


@given(arrays(np.float64, (3, 5), elements=st.floats(-10, 10) | st.just(NAN)))
def test_standardised(rewards):
    advantages = group_advantages(rewards)
    assert np.isfinite(advantages).all()
    for row, group, flat in zip(advantages, rewards, zero_advantage_groups(rewards), strict=True):
        valid = row[~np.isnan(group)]
        if not flat:
            assert valid.mean() == pytest.approx(0, abs=1e-6)
            assert valid.std() == pytest.approx(1)
