"""Properties over random tokens."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gppo.objectives import OBJECTIVES, apply_dual_clip, get_objective

log_ratios = st.floats(-30, 30)
advantages = st.floats(-5, 5)
epsilons = st.floats(0.01, 0.9)


def weigh(name, log_ratio, advantage, params=None):
    w = get_objective(name, params)(
        torch.tensor([[log_ratio]], dtype=torch.float64),
        torch.tensor([[advantage]], dtype=torch.float64),
        mask=torch.ones(1, 1, dtype=torch.bool),
        old_logprobs_BT=torch.tensor([[-1.0]], dtype=torch.float64),
    )
    return w.item()


@given(log_ratios, advantages, epsilons, epsilons)
def test_gppo_is_clip_higher_wherever_that_keeps_the_token(log_ratio, advantage, low, high):
    params = {"epsilon_low": low, "epsilon_high": high}
    kept = weigh("clip_higher", log_ratio, advantage, params)
    preserved = weigh("gppo", log_ratio, advantage, params)
    assert preserved > 0
    assert kept in (0.0, preserved)


@given(log_ratios, advantages, epsilons, epsilons)
def test_gppo_is_bounded_for_positive_and_bounded_below_for_negative_advantages(log_ratio, advantage, low, high):
    w = weigh("gppo", log_ratio, advantage, {"epsilon_low": low, "epsilon_high": high})
    if advantage > 0:
        assert w <= (1 + high) * (1 + 1e-12)
    if advantage < 0:
        assert w >= (1 - low) * (1 - 1e-12)


@given(advantages, st.sampled_from(sorted(OBJECTIVES)))
def test_one_update_a_batch_makes_every_objective_the_same(advantage, name):
    assert weigh(name, 0.0, advantage) == pytest.approx(1.0, abs=1e-12)


@given(st.floats(math.log(0.8) + 1e-9, math.log(1.2) - 1e-9), advantages)
def test_inside_the_range_the_clipping_objectives_agree(log_ratio, advantage):
    expected = math.exp(log_ratio)
    for name in ("ppo", "clip_higher", "gppo", "ce_gppo", "cispo"):
        assert weigh(name, log_ratio, advantage) == pytest.approx(expected, rel=1e-12)


@given(log_ratios, st.floats(0.01, 5), st.sampled_from(sorted(OBJECTIVES)), st.booleans())
def test_only_the_sign_of_the_advantage_matters(log_ratio, size, name, negative):
    sign = -1.0 if negative else 1.0
    assert weigh(name, log_ratio, sign * size) == weigh(name, log_ratio, sign)


@given(log_ratios, advantages, st.floats(1.01, 20), st.sampled_from(sorted(OBJECTIVES)))
def test_dual_clip_bounds_negative_tokens_only(log_ratio, advantage, dual_clip, name):
    w = torch.tensor([weigh(name, log_ratio, advantage)], dtype=torch.float64)
    args = (*torch.tensor([[log_ratio], [advantage]], dtype=torch.float64), dual_clip)
    dropped, kept = apply_dual_clip(w, *args), apply_dual_clip(w, *args, keep=True)
    if advantage < 0 and log_ratio > math.log(dual_clip):
        assert dropped.item() == 0
        assert kept.item() == min(w.item(), dual_clip)
    else:
        assert torch.equal(dropped, w)
        assert torch.equal(kept, w)


@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_gspo_does_not_depend_on_token_order(row, random):
    shuffled = list(row)
    random.shuffle(shuffled)
    objective = get_objective("gspo", {"epsilon_low": 0.3, "epsilon_high": 0.3})
    first, second = (
        objective(torch.tensor([x], dtype=torch.float64), torch.ones(1, 1), mask=torch.ones(1, len(x)))
        for x in (row, shuffled)
    )
    torch.testing.assert_close(first, second)
