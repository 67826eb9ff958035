import math

import pytest
import torch

from gppo.objectives import correction_weights
from gppo.types import UserError

RATIO = torch.tensor([[0.25, 0.5, 1.0], [1.5, 1.5, 4.0], [2.0, 6.0, 0.1]], dtype=torch.float64)
ONES = torch.ones(3, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        ("none", {}, [[1, 1, 1], [1, 1, 1], [1, 1, 1]]),
        ("tis", {}, [[0.25, 0.5, 1], [1.5, 1.5, 2], [2, 2, 0.1]]),
        ("tis", {"cap": 1.25}, [[0.25, 0.5, 1], [1.25, 1.25, 1.25], [1.25, 1.25, 0.1]]),
        ("icepop", {}, [[0, 0.5, 1], [1.5, 1.5, 4], [2, 0, 0]]),
        ("icepop", {"low": 0.2, "high": 2.0}, [[0.25, 0.5, 1], [1.5, 1.5, 0], [2, 0, 0]]),
        # products 0.125, 9, 1.2
        ("mis", {}, [[0.125] * 3, [0] * 3, [1.2] * 3]),
        ("mis", {"cap": 10.0}, [[0.125] * 3, [9] * 3, [1.2] * 3]),
    ],
)
def test_hand_computed(kind, settings, expected):
    # A hair inside the bounds, which are included, so that exp(log(r)) cannot fall on the wrong side of them.
    settings = {key: value * (1 - 1e-12 if key == "low" else 1 + 1e-12) for key, value in settings.items()}
    w = correction_weights(kind, RATIO.log(), mask=ONES, **settings)
    torch.testing.assert_close(w, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("kind", ["tis", "icepop", "mis", "none"])
def test_masked_tokens_are_inert(kind):
    mask = torch.tensor([[1, 1, 0], [1, 0, 0], [1, 0, 1]]).bool()
    clean = correction_weights(kind, RATIO.log(), mask=mask)
    soiled = correction_weights(kind, torch.where(mask, RATIO.log(), math.inf), mask=mask)
    assert torch.equal(clean, soiled)
    assert (clean[~mask] == 0).all()


@pytest.mark.parametrize("kind", ["tis", "icepop", "mis"])
def test_finite_for_any_input(kind):
    values = [-math.inf, -700.0, 0.0, 700.0, math.inf, math.nan]
    grid = torch.cartesian_prod(*[torch.tensor(values)] * 3)
    w = correction_weights(kind, grid, mask=torch.ones_like(grid, dtype=torch.bool))
    assert w.isfinite().all()
    assert (w[grid.isnan()] == 0).all()


@pytest.mark.parametrize("kind", ["tis", "icepop", "mis"])
def test_agreeing_engines_change_nothing(kind):
    assert torch.equal(correction_weights(kind, torch.zeros(2, 3), mask=torch.ones(2, 3)), torch.ones(2, 3))


def test_mis_of_a_long_row_does_not_wrap_round():
    log_ratio = torch.stack([torch.full((1000,), 0.1), torch.full((1000,), -0.1)])
    w = correction_weights("mis", log_ratio, mask=torch.ones(2, 1000))
    assert w[0].tolist() == [0.0] * 1000
    assert 0 < w[1, 0] < 1e-8


def test_mistakes_are_named():
    with pytest.raises(UserError, match="none, tis, icepop, mis"):
        correction_weights("is", torch.zeros(2), mask=torch.ones(2))
    with pytest.raises(UserError, match=r"\[B, T\]"):
        correction_weights("mis", torch.zeros(2), mask=torch.ones(2))
