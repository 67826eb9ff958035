"""The one coefficient per token: hand-computed, and against autograd of the whole objective."""

import math

import pytest
import torch
from objective_references import random_batch, surrogate_values

from gppo.objectives import (
    OBJECTIVES,
    TOKEN_LOCAL,
    TokenFields,
    correction_weights,
    get_objective,
    kl_value,
    lm_weights,
    token_coefficients,
    token_norms,
    token_weights,
)
from gppo.types import UserError


def full_fields(seed=5):
    logprobs, old, advantages, mask = random_batch(seed)
    generator = torch.Generator().manual_seed(seed)
    noise = 0.3 * torch.randn(2, *old.shape, generator=generator, dtype=torch.float64)
    policy_row_B = torch.tensor([True, True, False, True, True])
    correct_B = torch.tensor([True, False, True, False, False])
    fields = TokenFields(
        log_ratio=logprobs - old,
        advantages=advantages,
        mask=mask,
        norm=token_norms(mask & policy_row_B[:, None], dtype=torch.float64),
        old_logprobs=old,
        lm_weight=lm_weights(mask, correct_B, 0.1, dtype=torch.float64),
        correction=correction_weights("tis", noise[0], mask=mask),
        ref_logprobs=old + noise[1],
    )
    return fields, logprobs, policy_row_B, correct_B


def test_hand_computed():
    # Four tokens: policy only, LM only (norm 0), both, masked.
    fields = TokenFields(
        log_ratio=torch.tensor([2.0, 1.5, 0.5, 1.0]).log(),
        advantages=torch.tensor([2.0, 5.0, -1.0, 3.0]),
        mask=torch.tensor([True, True, True, False]),
        norm=torch.tensor([0.25, 0.0, 0.25, 0.25]),
        old_logprobs=torch.tensor([-1.0, -1.0, -1.0, -1.0]),
        lm_weight=torch.tensor([0.0, 0.05, 0.05, 0.05]),
        correction=torch.tensor([0.5, 2.0, 2.0, 2.0]),
        ref_logprobs=torch.tensor([-1.0, -1.0, -1.0, -1.0]),
    )
    c = token_coefficients(fields, get_objective("gppo"), kl_beta=0.1, kl_estimator="k2")
    expected = [
        0.25 * 0.5 * 1.28 * 2 - 0.1 * 0.25 * math.log(2),
        0.05,
        0.25 * 2 * 0.8 * -1 + 0.05 - 0.1 * 0.25 * math.log(0.5),
        0.0,
    ]
    torch.testing.assert_close(c, torch.tensor(expected))


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_everything_together_is_the_gradient_of_everything_together(estimator):
    fields, logprobs, policy_row_B, correct_B = full_fields()
    beta, alpha, mask = 0.07, 0.1, fields.mask
    leaf = logprobs.clone().requires_grad_()
    policy = mask & policy_row_B[:, None]
    correct = mask & correct_B[:, None]
    d = leaf - fields.ref_logprobs
    kl = {"k1": d, "k2": d**2 / 2, "k3": torch.exp(-d) - 1 + d}[estimator]
    values = surrogate_values("gppo", leaf, fields.old_logprobs, fields.advantages, mask)
    total = (fields.correction * values)[policy].sum() / policy.sum() - beta * kl[policy].sum() / policy.sum()
    total = total + alpha * leaf[correct].sum() / correct.sum()
    (gradient,) = torch.autograd.grad(total, leaf)
    c = token_coefficients(fields, get_objective("gppo"), kl_beta=beta, kl_estimator=estimator)
    torch.testing.assert_close(c, gradient, rtol=0, atol=1e-12)
    torch.testing.assert_close(kl_value(leaf, fields.ref_logprobs, estimator), kl.detach())


@pytest.mark.parametrize("name", sorted(TOKEN_LOCAL))
def test_flat_slices_give_the_coefficients_of_the_batch(name):
    fields = full_fields()[0]
    settings = {"dual_clip": 2.0, "kl_beta": 0.1}
    whole = token_coefficients(fields, get_objective(name), **settings).reshape(-1)
    for start in range(0, whole.numel(), 8):
        part = TokenFields(*(getattr(fields, key).reshape(-1)[start : start + 8] for key in TokenFields.__slots__))
        assert torch.equal(token_coefficients(part, get_objective(name), **settings), whole[start : start + 8])


def test_excluded_rows_keep_only_their_lm_term():
    fields = full_fields()[0]
    c = token_coefficients(fields, get_objective("gppo"), kl_beta=0.5)
    assert torch.equal(c[2], fields.lm_weight[2])
    assert (c[2][fields.mask[2]] > 0).all()


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_masked_and_broken_tokens(name):
    fields, *_ = full_fields()
    junk = {
        key: torch.where(fields.mask, getattr(fields, key), math.nan)
        for key in ("log_ratio", "advantages", "norm", "old_logprobs", "lm_weight", "correction", "ref_logprobs")
    }
    clean = token_coefficients(fields, get_objective(name), kl_beta=0.1)
    soiled = token_coefficients(TokenFields(mask=fields.mask, **junk), get_objective(name), kl_beta=0.1)
    assert torch.equal(clean, soiled)
    assert (clean[~fields.mask] == 0).all()


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_finite_for_extreme_tokens(name):
    extremes = torch.tensor([-math.inf, -700.0, 0.0, 700.0, math.inf, math.nan])
    log_ratio, advantages, old = torch.cartesian_prod(extremes, extremes, extremes).T.reshape(3, 36, 6)
    fields = TokenFields(
        log_ratio,
        advantages,
        torch.ones(36, 6, dtype=torch.bool),
        torch.full((36, 6), 1 / 216),
        old,
        ref_logprobs=old.flip(1),
    )
    assert token_coefficients(fields, get_objective(name), kl_beta=0.1).isfinite().all()


def test_update_by_backward_moves_logprobs_along_the_coefficients():
    fields, logprobs, *_ = full_fields()
    leaf = logprobs.clone().requires_grad_()
    c = token_coefficients(fields, get_objective("gppo"))
    torch.autograd.backward(leaf, -c)
    assert torch.equal(leaf.grad, -c)
    assert not c.requires_grad


def test_dual_clip_reaches_the_weights():
    fields = TokenFields(torch.tensor([2.0]), torch.tensor([-1.0]), torch.tensor([True]), torch.tensor([1.0]))
    gppo = get_objective("gppo")
    assert token_weights(fields, gppo).item() == pytest.approx(math.exp(2))
    assert token_weights(fields, gppo, dual_clip=3.0).item() == 0
    assert token_coefficients(fields, gppo, dual_clip=3.0, dual_clip_keep=True).item() == -3


@pytest.mark.parametrize("missing", ["ref_logprobs", "old_logprobs"])
def test_kl_penalty_needs_its_logprobs(missing):
    given = {"ref_logprobs": torch.zeros(2), "old_logprobs": torch.zeros(2)} | {missing: None}
    fields = TokenFields(torch.zeros(2), torch.ones(2), torch.ones(2), torch.ones(2), **given)
    with pytest.raises(UserError, match="ref_logprobs and old_logprobs"):
        token_coefficients(fields, get_objective("gppo"), kl_beta=0.1)
