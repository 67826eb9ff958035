"""The loss for other people's loops: its value and its gradient."""

import math

import pytest
import torch
from objective_references import random_batch, reference_gradient

from gppo.objectives import DEFAULT_NORMALISATION, OBJECTIVES, surrogate_loss, token_norms
from gppo.types import UserError


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_value_and_gradient(name, seed):
    logprobs, old, advantages, mask = random_batch(seed, spread=4e-4 if name == "gspo" else 0.7)
    norm = token_norms(mask, DEFAULT_NORMALISATION[name], dtype=torch.float64)
    value, gradient = reference_gradient(norm, mask, logprobs, name=name, old=old, advantages=advantages)
    leaf = logprobs.clone().requires_grad_()
    loss = surrogate_loss(leaf, old, advantages[:, :1], mask, name)
    loss.backward()
    torch.testing.assert_close(loss.detach(), -value, rtol=0, atol=1e-9)
    torch.testing.assert_close(leaf.grad, -gradient, rtol=0, atol=1e-9)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("name", ["ppo", "gppo", "dcpo"])
def test_value_and_gradient_with_dual_clip(name, keep):
    logprobs, old, advantages, mask = random_batch(8, spread=1.5)
    norm = token_norms(mask, dtype=torch.float64)
    value, gradient = reference_gradient(
        norm, mask, logprobs, name=name, old=old, advantages=advantages, dual_clip=2.0, keep=keep
    )
    leaf = logprobs.clone().requires_grad_()
    loss = surrogate_loss(leaf, old, advantages, mask, name, dual_clip=2.0, dual_clip_keep=keep)
    loss.backward()
    torch.testing.assert_close(loss.detach(), -value, rtol=0, atol=1e-9)
    torch.testing.assert_close(leaf.grad, -gradient, rtol=0, atol=1e-9)


def test_gppo_has_the_value_of_clip_higher_and_another_gradient():
    logprobs, old, advantages, mask = random_batch(0)
    ratio = (logprobs - old).exp()
    clipped = -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.28) * advantages)[mask].mean()
    leaves = [logprobs.clone().requires_grad_() for _ in range(2)]
    losses = [
        surrogate_loss(leaf, old, advantages, mask, name)
        for leaf, name in zip(leaves, ("gppo", "clip_higher"), strict=True)
    ]
    for loss in losses:
        loss.backward()
        torch.testing.assert_close(loss.detach(), clipped, rtol=1e-12, atol=0)
    assert (leaves[1].grad[mask] == 0).any()
    assert (leaves[0].grad[mask] != 0).all()


def test_hand_computed():
    logprobs = torch.tensor([[2.0, 1.1, 0.5, 9.0]]).log().requires_grad_()
    mask = torch.tensor([[1, 1, 1, 0]]).bool()
    loss = surrogate_loss(logprobs, torch.zeros(1, 4), torch.tensor([[3.0]]), mask)
    loss.backward()
    assert loss.item() == pytest.approx(-(1.28 + 1.1 + 0.5) * 3 / 3)
    torch.testing.assert_close(logprobs.grad, torch.tensor([[-1.28, -1.1, -0.5, 0.0]]))


def test_normalisation_and_parameters_are_used():
    args = (torch.full((2, 3), math.log(2.0)), torch.zeros(2, 3), torch.ones(2, 1), torch.ones(2, 3))
    assert surrogate_loss(*args, params={"epsilon_high": 0.5}).item() == pytest.approx(-1.5)
    constant = surrogate_loss(*args, normalisation="constant", constant_length=12)
    assert constant.item() == pytest.approx(-1.28 * 3 / 12)


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_padding_may_hold_anything(name):
    logprobs, old, advantages, mask = random_batch(2)
    padded = torch.where(mask, logprobs, -math.inf).requires_grad_()
    loss = surrogate_loss(padded, torch.where(mask, old, -math.inf), advantages, mask, name)
    loss.backward()
    clean = surrogate_loss(logprobs, old, advantages, mask, name)
    torch.testing.assert_close(loss.detach(), clean, rtol=1e-12, atol=0)
    assert padded.grad.isfinite().all()
    assert (padded.grad[~mask] == 0).all()


def test_half_precision_logprobs():
    logprobs = torch.tensor([[-0.5, -1.0]], dtype=torch.bfloat16, requires_grad=True)
    loss = surrogate_loss(logprobs, torch.tensor([[-0.5, -1.0]]), torch.ones(1, 1), torch.ones(1, 2))
    loss.backward()
    assert loss.item() == -1
    assert logprobs.grad.tolist() == [[-0.5, -0.5]]


def test_a_step_raises_the_probability_of_good_responses():
    logits = torch.zeros(2, 1, 4, requires_grad=True)
    tokens = torch.tensor([[1], [2]])
    advantages, mask = torch.tensor([[1.0], [-1.0]]), torch.ones(2, 1, dtype=torch.bool)
    logprobs = logits.log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1)
    surrogate_loss(logprobs, logprobs.detach(), advantages, mask).backward()
    after = (logits - logits.grad).detach().log_softmax(-1).gather(-1, tokens[..., None]).squeeze(-1)
    assert after[0] > logprobs[0]
    assert after[1] < logprobs[1]


def test_mistakes_are_named():
    args = (torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 1), torch.ones(1, 2))
    with pytest.raises(UserError, match="no objective 'grpo'"):
        surrogate_loss(*args, "grpo")
    with pytest.raises(UserError, match="Normalisation 'mean'"):
        surrogate_loss(*args, normalisation="mean")
