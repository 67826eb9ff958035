import math

import pytest
import torch

from gppo.objectives import get_objective, update_diagnostics

RATIO = torch.tensor([[2.0, 0.5, 2.0, 0.5, 1.0], [1.0, 1.0, 1.0, 9.0, 9.0]], dtype=torch.float64)
ADVANTAGES = torch.tensor([[1.0, 2.0, -1.0, -4.0, 0.5], [1.0, 1.0, -1.0, 7.0, 7.0]], dtype=torch.float64)
MASK = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]).bool()


def diagnose(name, **kwargs):
    w = get_objective(name)(RATIO.log(), ADVANTAGES, mask=MASK)
    return update_diagnostics(RATIO.log(), ADVANTAGES, w, MASK, **kwargs)


def test_hand_computed():
    entropy = torch.where(MASK, 0.5, math.nan)
    numbers = diagnose("gppo", entropy_BT=entropy)
    # |w A| of gppo: 1.28, 1, 2, 3.2, .5, 1, 1, 1; of the ratios: 2, 1, 2, 2, .5, 1, 1, 1
    expected = {
        "clip_positive_high": 1 / 8,
        "clip_positive_low": 1 / 8,
        "clip_negative_high": 1 / 8,
        "clip_negative_low": 1 / 8,
        "clip_fraction": 2 / 8,
        "given_back": (1.28 + 3.2) / 10.98,
        "would_drop": (2 + 2) / 10.5,
        "saturated": 0.0,
        "kl_old": (2 * (1 - math.log(2)) + 2 * (-0.5 + math.log(2))) / 8,
        "ratio_mean": (2 + 0.5 + 2 + 0.5 + 4) / 8,
        "ratio_p01": 0.5,
        "ratio_p50": 1.0,
        "ratio_p99": 2.0,
        "ratio_max": 2.0,
        "entropy": 0.5,
    }
    assert numbers == pytest.approx(expected)


def test_clip_higher_gives_nothing_back():
    numbers = diagnose("clip_higher")
    assert numbers["given_back"] == 0
    assert numbers["would_drop"] > 0
    assert "entropy" not in numbers


def test_the_range_is_a_parameter():
    numbers = diagnose("gppo", epsilon_low=0.6, epsilon_high=1.5)
    assert numbers["clip_fraction"] == 0
    assert numbers["given_back"] == 0
    assert numbers["would_drop"] == 0


def test_micro_batches_combine_by_concatenation():
    w = get_objective("gppo")(RATIO.log(), ADVANTAGES, mask=MASK)
    pieces = [[x[row] for x in (RATIO.log(), ADVANTAGES, w, MASK)] for row in (1, 0)]
    flat = [torch.cat(parts) for parts in zip(*pieces, strict=True)]
    assert update_diagnostics(*flat) == pytest.approx(diagnose("gppo"))


def test_on_policy_is_quiet():
    numbers = update_diagnostics(torch.zeros(2, 3), torch.ones(2, 1), torch.ones(2, 3), torch.ones(2, 3))
    assert {key for key, value in numbers.items() if value} == {
        "ratio_mean",
        "ratio_p01",
        "ratio_p50",
        "ratio_p99",
        "ratio_max",
    }


def test_quantiles_by_nearest_rank():
    log_ratio = torch.arange(1, 102, dtype=torch.float64).log()[torch.randperm(101)]
    numbers = update_diagnostics(log_ratio, torch.ones(101), torch.ones(101), torch.ones(101))
    ranks = {key: numbers[key] for key in ("ratio_p01", "ratio_p50", "ratio_p99", "ratio_max")}
    # ratios above e^20 saturate; 101 does not
    assert ranks == pytest.approx({"ratio_p01": 2, "ratio_p50": 51, "ratio_p99": 100, "ratio_max": 101})


def test_saturated_and_broken_tokens_are_counted_and_finite():
    log_ratio = torch.tensor([-math.inf, 700.0, 20.0, 19.0, 0.0, math.nan])
    advantages = torch.tensor([1.0, -1.0, 1.0, 1.0, 1.0, 1.0])
    mask = torch.ones(6, dtype=torch.bool)
    w = get_objective("gppo")(log_ratio, advantages, mask=mask)
    numbers = update_diagnostics(log_ratio, advantages, w, mask)
    assert numbers["saturated"] == pytest.approx(3 / 5)
    assert all(math.isfinite(value) for value in numbers.values())


def test_no_tokens():
    empty = torch.zeros(0)
    numbers = update_diagnostics(empty, empty, empty, empty, entropy_BT=empty)
    assert all(value == (1.0 if key.startswith("ratio") else 0.0) for key, value in numbers.items())
