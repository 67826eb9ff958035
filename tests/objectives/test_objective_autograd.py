"""Weights against autograd of each surrogate, written from its paper."""

import pytest
import torch
from objective_references import random_batch, reference_gradient

from gppo.objectives import (
    DEFAULT_NORMALISATION,
    OBJECTIVES,
    TokenFields,
    get_objective,
    token_coefficients,
    token_norms,
)


def compare(name, seed, spread, params=None, dual_clip=None, keep=False):
    logprobs, old, advantages, mask = random_batch(seed, spread=spread)
    norm = token_norms(mask, DEFAULT_NORMALISATION[name], dtype=torch.float64)
    _, gradient = reference_gradient(
        norm, mask, logprobs, name=name, old=old, advantages=advantages, params=params, dual_clip=dual_clip, keep=keep
    )
    fields = TokenFields(logprobs - old, advantages, mask, norm, old)
    c = token_coefficients(fields, get_objective(name, params), dual_clip=dual_clip, dual_clip_keep=keep)
    torch.testing.assert_close(c, gradient, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_coefficient_is_the_surrogates_gradient(name, seed):
    # gspo's range is a thousand times narrower: a small spread leaves rows on both sides of its clip.
    compare(name, seed, spread=4e-4 if name == "gspo" else 0.7)


@pytest.mark.parametrize("name", ["ppo", "clip_higher", "gppo", "ce_gppo", "dcpo"])
@pytest.mark.parametrize("keep", [False, True])
def test_dual_clip_is_its_surrogates_gradient(name, keep):
    compare(name, seed=11, spread=1.5, dual_clip=2.0, keep=keep)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("gppo", {"epsilon_low": 0.1, "epsilon_high": 0.5, "beta_low": 0.25, "beta_high": 2.0}),
        ("cispo", {"epsilon_low": 1.0, "epsilon_high": 3.0}),
        ("gspo", {"epsilon_low": 0.2, "epsilon_high": 0.2}),
        ("sapo", {"tau_positive": 2.0, "tau_negative": 0.5}),
        ("aspo", {"epsilon_low": 0.5, "ratio_cap": 1.5}),
        ("dcpo", {"epsilon_low": 0.02, "epsilon_high": 0.6, "ratio_cap": 1.5}),
    ],
)
def test_parameters_mean_what_the_surrogate_says(name, params):
    compare(name, seed=3, spread=0.7, params=params)


def test_gspo_batch_has_clipped_and_kept_rows():
    logprobs, old, advantages, mask = random_batch(1, spread=4e-4)
    w = OBJECTIVES["gspo"](logprobs - old, advantages, mask=mask)
    rows = (w != 0).any(1)
    assert 0 < rows.sum() < len(rows)
