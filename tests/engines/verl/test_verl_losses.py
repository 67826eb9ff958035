"""Our objectives inside verl: the gradient that verl's own aggregation gives each token, against ours."""

from functools import partial

import pytest
import torch

pytest.importorskip("verl", reason="verl is not installed here; make test-verl makes an environment for it")

from tensordict import TensorDict
from verl.trainer.ppo.core_algos import get_policy_loss_fn
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig
from verl.workers.utils.losses import ppo_loss

from gppo.bridges.verl.losses import GppoLossConfig, loss_name, loss_with_lm
from gppo.objectives import (
    DEFAULT_NORMALISATION,
    OBJECTIVES,
    TokenFields,
    get_objective,
    lm_weights,
    token_coefficients,
    token_norms,
)

AGGREGATION = {"token_mean": "token-mean", "sequence_mean": "seq-mean-token-mean"}
B, T = 6, 12


def batch(dtype=torch.float64):
    """Rows of different lengths with ratios on both sides of every bound, both signs of A, and a row without A."""
    draw = torch.Generator().manual_seed(3)
    lengths = torch.tensor([12, 9, 5, 1, 12, 7])
    mask = torch.arange(T)[None] < lengths[:, None]
    old = -torch.rand(B, T, generator=draw, dtype=dtype) * 4 - 0.01
    log_ratio = torch.randn(B, T, generator=draw, dtype=dtype) * 0.6
    log_ratio[4] *= 1e-4  # GSPO's bounds are narrow: one row stays inside them
    advantages = torch.tensor([1.3, -0.7, 0.4, -2.0, 0.9, 0.0], dtype=dtype)[:, None].expand(B, T)
    return old, old + log_ratio, advantages, mask


def actor(name, **loss):
    return FSDPActorConfig(
        strategy="fsdp2",
        rollout_n=2,
        use_dynamic_bsz=True,
        policy_loss=GppoLossConfig(loss_mode=loss_name(name), **loss),
        loss_agg_mode=AGGREGATION[DEFAULT_NORMALISATION[name]],
    )


def verls_coefficients(name, old, new, advantages, mask, parts, ranks=1, correction=None, **loss):
    """-d loss / d log pi of each token as the ranks' optimizers see it: summed over micro-batches, mean over ranks."""
    config = actor(name, **loss)
    config.global_batch_info.update(
        dp_size=ranks, batch_num_tokens=int(mask.sum()), global_batch_size=len(mask), loss_scale_factor=None
    )
    leaf = new.clone().requires_grad_()
    for rows in parts:
        value, metrics = get_policy_loss_fn(loss_name(name))(
            old_log_prob=old[rows],
            log_prob=leaf[rows],
            advantages=advantages[rows],
            response_mask=mask[rows],
            loss_agg_mode=config.loss_agg_mode,
            config=config,
            rollout_is_weights=None if correction is None else correction[rows],
        )
        (value / ranks).backward()
        assert all(isinstance(number, float) for number in metrics.values())
    return -leaf.grad


@pytest.mark.parametrize("parts", [[[0, 1, 2, 3, 4, 5]], [[3, 0], [1, 2, 5], [4]]], ids=["whole", "micro-batches"])
@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_each_tokens_weight_is_ours(name, ranks, parts):
    old, new, advantages, mask = batch()
    found = verls_coefficients(name, old, new, advantages, mask, parts, ranks)
    norm = token_norms(mask, DEFAULT_NORMALISATION[name], dtype=torch.float64)
    weights = OBJECTIVES[name](new - old, advantages, mask=mask, old_logprobs_BT=old)
    torch.testing.assert_close(found, norm * weights * advantages, rtol=1e-6, atol=1e-9)
    assert found[mask & (advantages != 0)].abs().sum() > 0


@pytest.mark.parametrize("name", ["gppo", "cispo", "aspo"])
def test_settings_of_a_recipe_reach_the_weights(name):
    old, new, advantages, mask = batch()
    params = {"epsilon_low": 0.1, "epsilon_high": 0.4} | ({"beta_low": 0.5} if name == "gppo" else {})
    correction = torch.rand(B, T, dtype=torch.float64)
    found = verls_coefficients(
        name, old, new, advantages, mask, [list(range(B))], correction=correction, params=params, dual_clip=1.5
    )
    fields = TokenFields(
        new - old, advantages, mask, token_norms(mask, dtype=torch.float64), old_logprobs=old, correction=correction
    )
    expected = token_coefficients(fields, get_objective(name, params), dual_clip=1.5)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    plain = token_coefficients(fields, get_objective(name))
    assert not torch.allclose(found, plain)


def nested(rows):
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


def test_the_lm_loss_is_added_over_two_ranks_of_several_micro_batches():
    """The whole path that verl calls, nested rows and its own padding included, against our one coefficient."""
    old, new, advantages, mask = batch(torch.float32)
    correct = torch.tensor([True, False, True, False, False, True])
    lm = lm_weights(mask, correct, 0.1)
    config, lengths, leaf = actor("gppo", lm_alpha=0.1), mask.sum(1), new.clone().requires_grad_()
    masses = []
    for rows in ([0, 1], [2], [3, 4, 5]):  # of two ranks, in any order
        data = TensorDict(
            {
                key: nested(value[b, : lengths[b]] for b in rows)
                for key, value in {
                    "response_mask": mask.long(),
                    "old_log_probs": old,
                    "advantages": advantages,
                    "lm_weights": lm,
                    "responses": torch.ones(B, T, dtype=torch.long),
                }.items()
            }
            | {"prompts": nested(torch.ones(3, dtype=torch.long) for _ in rows)},
            batch_size=len(rows),
        )
        tu.assign_non_tensor(data, dp_size=2, batch_num_tokens=int(mask.sum()), global_batch_size=B)
        # A model's output stands one to the left: the token at position i is predicted at i - 1.
        zeros = torch.zeros(1)
        output = nested(torch.cat([zeros, zeros, leaf[b, : lengths[b]], zeros]) for b in rows)
        loss, metrics = loss_with_lm(config, {"log_probs": output}, data)
        (loss / 2).backward()
        masses.append(metrics["actor/lm_mass"].aggregate() / 2)
        bare, _ = ppo_loss(config, {"log_probs": output.detach()}, data)
        assert metrics["actor/pg_loss"].aggregate() == pytest.approx(float(bare), rel=1e-5)
    assert sum(masses) == pytest.approx(1.0, rel=1e-6)
    fields = TokenFields(new - old, advantages, mask, token_norms(mask), old_logprobs=old, lm_weight=lm)
    expected = token_coefficients(fields, get_objective("gppo"))
    torch.testing.assert_close(-leaf.grad, expected, rtol=1e-5, atol=1e-7)


def test_verls_own_config_class_gives_published_defaults():
    from verl.workers.config import PolicyLossConfig

    old, new, advantages, mask = batch()
    config = FSDPActorConfig(
        strategy="fsdp2", rollout_n=2, use_dynamic_bsz=True, policy_loss=PolicyLossConfig(loss_mode="gppo")
    )
    leaf = new.clone().requires_grad_()
    call = partial(get_policy_loss_fn("gppo"), old_log_prob=old, advantages=advantages, response_mask=mask)
    loss, metrics = call(log_prob=leaf, loss_agg_mode="token-mean", config=config)
    loss.backward()
    weights = OBJECTIVES["gppo"](new - old, advantages, mask=mask)
    torch.testing.assert_close(-leaf.grad, weights * advantages / mask.sum(), rtol=1e-6, atol=1e-9)
    quadrants = [f"actor/clip_{sign}_{side}" for sign in ("positive", "negative") for side in ("high", "low")]
    ratio, valid = (new - old).exp(), mask
    expected = [
        ((a * advantages > 0) & beyond & valid).sum() / valid.sum()
        for a in (1, -1)
        for beyond in (ratio > 1.28, ratio < 0.8)
    ]
    assert [metrics[key] for key in quadrants] == pytest.approx([float(x) for x in expected])
