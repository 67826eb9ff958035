"""Hand-computed weights, and what every objective promises for any input."""

import math

import pytest
import torch

from gppo.objectives import OBJECTIVES, TOKEN_LOCAL, apply_dual_clip, get_objective
from gppo.types import UserError

NAN, INF = math.nan, math.inf

# sech^2(x) by hand: sapo at r = 1.1 and A > 0 gives 1.1 / cosh(0.05)^2, and so on.
TABLE = [
    # objective, ratio, w for A > 0, w for A < 0
    ("ppo", 0.5, 0.5, 0.0),
    ("ppo", 1.1, 1.1, 1.1),
    ("ppo", 1.25, 0.0, 1.25),
    ("clip_higher", 0.5, 0.5, 0.0),
    ("clip_higher", 1.25, 1.25, 1.25),
    ("clip_higher", 1.5, 0.0, 1.5),
    ("gppo", 0.5, 0.5, 0.8),
    ("gppo", 1.1, 1.1, 1.1),
    ("gppo", 1.5, 1.28, 1.5),
    ("ce_gppo", 0.5, 0.5, 0.6),
    ("ce_gppo", 1.1, 1.1, 1.1),
    ("ce_gppo", 1.5, 1.2, 1.5),
    ("cispo", 0.5, 0.8, 0.8),
    ("cispo", 1.1, 1.1, 1.1),
    ("cispo", 1.5, 1.28, 1.28),
    ("gspo", 0.9, 0.9, 0.0),
    ("gspo", 1.0003, 1.0003, 1.0003),
    ("gspo", 1.1, 0.0, 1.1),
    ("sapo", 0.5, 0.5 / math.cosh(0.25) ** 2, 0.5 / math.cosh(0.2625) ** 2),
    ("sapo", 1.1, 1.1 / math.cosh(0.05) ** 2, 1.1 / math.cosh(0.0525) ** 2),
    ("sapo", 3.0, 3.0 / math.cosh(1.0) ** 2, 3.0 / math.cosh(1.05) ** 2),
    ("aspo", 0.2, 3.0, 0.0),
    ("aspo", 0.5, 2.0, 0.0),
    ("aspo", 1.25, 0.8, 1.25),
    ("aspo", 5.0, 0.0, 3.0),
]


@pytest.mark.parametrize(("name", "ratio", "positive", "negative"), TABLE)
def test_hand_computed(name, ratio, positive, negative):
    log_ratio = torch.full((2, 1), math.log(ratio), dtype=torch.float64)
    advantages = torch.tensor([[1.7], [-0.4]], dtype=torch.float64)
    w = OBJECTIVES[name](log_ratio, advantages, mask=torch.ones(2, 1, dtype=torch.bool))
    torch.testing.assert_close(w, torch.tensor([[positive], [negative]], dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("q", "ratio", "positive", "negative"),
    [
        # q = 0.8: bounds 0.5 + 0.5 sqrt(1 - 0.8) = 0.7236, 0.5 + 0.5 sqrt(2) = 1.2071
        (0.8, 0.72, 0.72, 0.0),
        (0.8, 0.73, 0.73, 0.73),
        (0.8, 1.20, 1.20, 1.20),
        (0.8, 1.21, 0.0, 1.21),
        # q = 0.01: bounds 0.5 and 0.5 + 0.5 sqrt(81) = 5
        (0.01, 0.49, 0.49, 0.0),
        (0.01, 0.51, 0.51, 0.51),
        (0.01, 4.9, 4.9, 4.9),
        (0.01, 5.1, 0.0, 5.1),
        # q = 1e-5: the upper bound would be 142, the cap is 10
        (1e-5, 9.9, 9.9, 9.9),
        (1e-5, 10.1, 0.0, 10.1),
    ],
)
def test_dcpo_bounds_follow_the_old_probability(q, ratio, positive, negative):
    w = OBJECTIVES["dcpo"](
        torch.tensor([math.log(ratio)] * 2, dtype=torch.float64),
        torch.tensor([1.0, -1.0], dtype=torch.float64),
        mask=torch.ones(2, dtype=torch.bool),
        old_logprobs_BT=torch.full((2,), math.log(q), dtype=torch.float64),
    )
    torch.testing.assert_close(w, torch.tensor([positive, negative], dtype=torch.float64))


def test_dcpo_of_an_impossible_token_keeps_its_bounds():
    w = get_objective("dcpo", {"epsilon_low": 0, "epsilon_high": 0})(
        torch.tensor([0.1, -0.1]),
        torch.tensor([1.0, -1.0]),
        mask=torch.ones(2, dtype=torch.bool),
        old_logprobs_BT=torch.tensor([-INF, -700.0]),
    )
    assert w.tolist() == [0.0, 0.0]


def test_dcpo_without_old_logprobs_says_so():
    with pytest.raises(UserError, match="old_logprobs_BT"):
        OBJECTIVES["dcpo"](torch.zeros(2), torch.ones(2), mask=torch.ones(2, dtype=torch.bool))


def test_gspo_uses_the_geometric_mean_of_masked_tokens():
    log_ratio = torch.tensor([[0.3, -0.1, 50.0], [0.0, 0.0002, -0.0002]], dtype=torch.float64)
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]]).bool()
    w = get_objective("gspo", {"epsilon_high": 0.2})(log_ratio, torch.ones(2, 1, dtype=torch.float64), mask=mask)
    torch.testing.assert_close(w[0], torch.tensor([math.exp(0.1), math.exp(0.1), 0.0], dtype=torch.float64))
    torch.testing.assert_close(w[1], torch.ones(3, dtype=torch.float64))


def test_gspo_refuses_flat_tensors():
    with pytest.raises(UserError, match=r"\[B, T\]"):
        OBJECTIVES["gspo"](torch.zeros(4), torch.ones(4), mask=torch.ones(4, dtype=torch.bool))


def extreme_tokens(dtype):
    log_ratios = [-INF, -700.0, -20.0, -0.1, 0.0, 0.1, 20.0, 700.0, INF, NAN]
    advantages = [-INF, -3.0, -0.0, 0.0, 3.0, INF, NAN]
    olds = [-INF, -700.0, -1.0, 0.0, 5.0, NAN]
    grid = torch.cartesian_prod(
        torch.tensor(log_ratios, dtype=dtype), torch.tensor(advantages, dtype=dtype), torch.tensor(olds, dtype=dtype)
    )
    return grid[:, 0], grid[:, 1], grid[:, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_finite_for_any_input(name, dtype):
    log_ratio, advantages, old = extreme_tokens(dtype)
    shape = (log_ratio.numel(), 1) if name == "gspo" else (-1,)
    log_ratio, advantages, old = (x.reshape(shape) for x in (log_ratio, advantages, old))
    mask = torch.ones_like(log_ratio, dtype=torch.bool)
    w = OBJECTIVES[name](log_ratio, advantages, mask=mask, old_logprobs_BT=old)
    assert w.isfinite().all()
    assert (w >= 0).all()
    assert (w[log_ratio.isnan() | ~advantages.isfinite()] == 0).all()
    assert w.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_gspo_row_with_extreme_tokens_stays_finite():
    log_ratio = torch.tensor([[INF, -INF, NAN, 0.0]])
    w = OBJECTIVES["gspo"](log_ratio, torch.ones(1, 4), mask=torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(w, torch.tensor([[1.0, 1.0, 0.0, 1.0]]))


@pytest.mark.parametrize("junk", [5.0, -700.0, INF, NAN])
@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_masked_tokens_are_inert(name, junk):
    generator = torch.Generator().manual_seed(0)
    log_ratio = 0.3 * torch.randn(3, 6, generator=generator)
    advantages = torch.randn(3, 6, generator=generator)
    old = -torch.rand(3, 6, generator=generator)
    mask = torch.rand(3, 6, generator=generator) < 0.6
    weigh = get_objective(name, {"epsilon_low": 0.2, "epsilon_high": 0.2} if name == "gspo" else None)
    clean = weigh(log_ratio, advantages, mask=mask, old_logprobs_BT=old)
    soiled = weigh(
        *(torch.where(mask, x, junk) for x in (log_ratio, advantages)),
        mask=mask,
        old_logprobs_BT=torch.where(mask, old, junk),
    )
    assert torch.equal(clean, soiled)
    assert (clean[~mask] == 0).all()
    assert (clean[mask] != 0).any()


@pytest.mark.parametrize("name", sorted(TOKEN_LOCAL))
def test_flat_slices_give_the_weights_of_the_batch(name):
    generator = torch.Generator().manual_seed(1)
    log_ratio, advantages = torch.randn(2, 4, 5, generator=generator)
    old = -torch.rand(4, 5, generator=generator)
    mask = torch.rand(4, 5, generator=generator) < 0.7
    whole = OBJECTIVES[name](log_ratio, advantages, mask=mask, old_logprobs_BT=old)
    flat = [x.reshape(-1)[3:11] for x in (log_ratio, advantages, mask, old)]
    part = OBJECTIVES[name](flat[0], flat[1], mask=flat[2], old_logprobs_BT=flat[3])
    assert torch.equal(part, whole.reshape(-1)[3:11])


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_weights_are_detached(name):
    log_ratio = torch.zeros(2, 3, requires_grad=True)
    w = OBJECTIVES[name](
        log_ratio, torch.ones(2, 1), mask=torch.ones(2, 3), old_logprobs_BT=torch.zeros(2, 3, requires_grad=True)
    )
    assert not w.requires_grad


def test_closed_epsilon_low_opens_the_lower_side():
    w = get_objective("cispo", {"epsilon_low": 1})(
        torch.tensor([-5.0, 5.0]), torch.ones(2), mask=torch.ones(2, dtype=torch.bool)
    )
    torch.testing.assert_close(w, torch.tensor([math.exp(-5.0), 1.28]))


def test_dual_clip_table():
    ratio = torch.tensor([2.0, 4.0, 2.0, 4.0, 4.0])
    advantages = torch.tensor([-1.0, -1.0, 1.0, 1.0, 0.0])
    args = (ratio, ratio.log(), advantages, 3.0)
    assert apply_dual_clip(*args).tolist() == [2.0, 0.0, 2.0, 4.0, 4.0]
    assert apply_dual_clip(*args, keep=True).tolist() == [2.0, 3.0, 2.0, 4.0, 4.0]


def test_dual_clip_never_raises_a_weight():
    w = torch.tensor([0.0, 1.28, 50.0])
    kept = apply_dual_clip(w, torch.full((3,), 4.0), torch.full((3,), -1.0), 10.0, keep=True)
    torch.testing.assert_close(kept, torch.tensor([0.0, 1.28, 10.0]))
