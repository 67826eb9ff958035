import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gppo.objectives import kl_derivative, kl_value
from gppo.types import UserError


@pytest.mark.parametrize(
    ("estimator", "value", "derivative"),
    [("k1", 0.5, 1.0), ("k2", 0.125, 0.5), ("k3", math.exp(-0.5) - 0.5, 1 - math.exp(-0.5))],
)
def test_hand_computed(estimator, value, derivative):
    logprobs, ref = torch.tensor([-1.0], dtype=torch.float64), torch.tensor([-1.5], dtype=torch.float64)
    assert kl_value(logprobs, ref, estimator).item() == pytest.approx(value, rel=1e-14)
    assert kl_derivative(logprobs, ref, estimator).item() == pytest.approx(derivative, rel=1e-14)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@given(d=st.floats(-15, 15))
def test_derivative_is_the_slope_of_the_value(estimator, d):
    h = 1e-5
    at = torch.tensor([d - h, d, d + h], dtype=torch.float64)
    value = kl_value(at, torch.zeros(3, dtype=torch.float64), estimator)
    slope = kl_derivative(at, torch.zeros(3, dtype=torch.float64), estimator)[1].item()
    assert (value[2] - value[0]).item() / (2 * h) == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_estimates_the_kl(estimator):
    # Exact expectation over a small distribution: k1 and k3 are unbiased, k2 is close where the two are.
    pi, ref = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.4, 0.35, 0.25])
    exact = (pi * (pi / ref).log()).sum()
    estimate = (pi * kl_value(pi.log(), ref.log(), estimator)).sum()
    assert estimate.item() == pytest.approx(exact.item(), rel=1e-4 if estimator != "k2" else 0.1)


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_finite_for_any_input(estimator):
    values = torch.tensor([-math.inf, -700.0, -1.0, 0.0, math.nan])
    pairs = torch.cartesian_prod(values, values)
    for function in (kl_value, kl_derivative):
        result = function(pairs[:, 0], pairs[:, 1], estimator)
        assert result.isfinite().all()
        assert (result[pairs.isnan().any(1)] == 0).all()


def test_k3_keeps_its_digits_near_zero():
    d = torch.tensor([1e-7], dtype=torch.float64)
    assert kl_value(d, torch.zeros(1), "k3").item() == pytest.approx(5e-15, rel=1e-3)


@pytest.mark.parametrize("function", [kl_value, kl_derivative])
def test_unknown_estimator(function):
    with pytest.raises(UserError, match="k1, k2, k3"):
        function(torch.zeros(1), torch.zeros(1), "k4")
