"""What an update computes, counted in tokens of the model's forward passes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rl_builders import copy_of, random_batch, rl_config, tiny_policy

from gppo.policy import Optimizer
from gppo.rl import Updater


@pytest.fixture(scope="module")
def policy():
    return tiny_policy()


def one_prompt_a_group(batch):
    first = [int(np.flatnonzero(batch.group_B == group)[0]) for group in batch.group_B]
    return replace(batch, prompt_ids=tuple(batch.prompt_ids[i] for i in first))


def forward_tokens(policy, batch, config):
    """Tokens of each forward pass of one step, and its metrics."""
    own, seen = copy_of(policy), []
    own.model.model.register_forward_pre_hook(
        lambda _, __, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    updater = Updater(own, Optimizer(own.model, config.optimizer, 10), config)
    update = updater.update(batch, config.resolved_stages()[0], seed=0, step=0, at=0)
    return seen, update


def expected_tokens(batch, rows) -> int:
    """Each group's prompt once, and every response but for its last token."""
    prompts = {int(batch.group_B[row]): len(batch.prompt_ids[row]) for row in rows}
    return sum(prompts.values()) + int((batch.lengths_B[rows] - 1).sum())


@pytest.mark.parametrize("mode", ["auto", "sampled"])
def test_a_trusted_sampler_costs_one_forward_an_update_without_padding(policy, mode):
    batch = one_prompt_a_group(random_batch(policy))
    batch = replace(batch, sampled_logprobs_BT=_trainers(policy, batch))
    seen, update = forward_tokens(policy, batch, rl_config(mini_batch_prompts=4, old_logprobs=mode))
    assert seen == [expected_tokens(batch, np.arange(len(batch)))]
    assert update.metrics["mismatch_max"] < 1e-4


def test_a_sampler_that_is_off_costs_the_first_mini_batch_again_and_one_pass_over_all(policy):
    batch = one_prompt_a_group(random_batch(policy, noise=0.5))
    batch = replace(batch, sampled_logprobs_BT=_trainers(policy, batch) + 0.3 * batch.mask_BT.astype(np.float32))
    seen, update = forward_tokens(policy, batch, rl_config(mini_batch_prompts=2, micro_batch_tokens=10_000))
    everything = expected_tokens(batch, np.arange(len(batch)))
    assert seen[0] == seen[2]
    assert seen[1] == everything
    assert seen[2] + seen[3] == everything
    assert update.metrics["mismatch_mean"] == pytest.approx(0.3, abs=1e-4)


def test_rows_without_advantage_and_lm_weight_never_enter_the_forward(policy):
    batch = one_prompt_a_group(random_batch(policy))
    silent_B = (np.arange(len(batch)) % 3 == 0) | (batch.group_B == 1)
    batch = replace(
        batch,
        advantages_B=np.where(silent_B, 0.0, batch.advantages_B),
        correct_B=batch.correct_B & ~silent_B,
        sampled_logprobs_BT=_trainers(policy, batch),
    )
    seen, update = forward_tokens(policy, batch, rl_config(mini_batch_prompts=4))
    assert seen == [expected_tokens(batch, np.flatnonzero(~silent_B))]
    assert update.learned_B.tolist() == (~silent_B).tolist()


def test_a_mini_batch_without_any_advantage_is_a_step_without_a_forward(policy):
    """Groups that are kept although all their rewards are equal: momentum and weight decay act, as they always did."""
    batch = one_prompt_a_group(random_batch(policy))
    batch = replace(batch, advantages_B=np.zeros(len(batch)), correct_B=np.zeros(len(batch), dtype=bool))
    config = rl_config(mini_batch_prompts=2, old_logprobs="sampled", optimizer={"weight_decay": 0.5, "warmup_steps": 0})
    own, seen = copy_of(policy), []
    own.model.model.register_forward_pre_hook(lambda *_: seen.append(1))
    optimizer = Optimizer(own.model, config.optimizer, 10)
    optimizer.peak = 1e-2
    update = Updater(own, optimizer, config).update(batch, config.resolved_stages()[0], seed=0, step=0, at=0)
    assert seen == []
    assert update.metrics["updates"] == 2
    assert update.metrics["grad_norm"] == 0
    assert not update.learned_B.any()
    for name, weight in own.model.named_parameters():
        decay = (1 - 1e-2 * 0.5) ** 2 if weight.dim() >= 2 else 1
        torch.testing.assert_close(weight, policy.model.get_parameter(name) * decay)


def test_a_penalty_for_leaving_the_reference_needs_rows_without_advantage_too(policy):
    batch = one_prompt_a_group(random_batch(policy))
    batch = replace(batch, advantages_B=np.zeros(len(batch)), correct_B=np.zeros(len(batch), dtype=bool))
    config = rl_config(mini_batch_prompts=4, kl={"beta": 0.1}, old_logprobs="sampled")
    own = copy_of(policy)
    updater = Updater(own, Optimizer(own.model, config.optimizer, 10), config, reference=tiny_policy(seed=1))
    assert updater.update(batch, config.resolved_stages()[0], seed=0, step=0, at=0).learned_B.all()


def test_micro_batches_hold_the_budget_and_whole_groups(policy):
    batch = one_prompt_a_group(random_batch(policy))
    groups = [expected_tokens(batch, np.flatnonzero(batch.group_B == group)) for group in range(4)]
    config = rl_config(mini_batch_prompts=4, old_logprobs="sampled", micro_batch_tokens=max(groups))
    seen, _ = forward_tokens(policy, batch, config)
    assert sum(seen) == sum(groups)
    assert len(seen) > 1
    assert max(seen) <= max(groups)


def test_a_step_in_which_memory_runs_out_ends_where_it_would_have(policy):
    batch = one_prompt_a_group(random_batch(policy, noise=0.2))
    config = rl_config(mini_batch_prompts=2, old_logprobs="sampled", micro_batch_tokens=40)
    ends = []
    for fails_at in (None, 3):
        own, passes = copy_of(policy), []

        def fails(*_, passes=passes, fails_at=fails_at):
            passes.append(1)
            if len(passes) == fails_at:
                raise torch.OutOfMemoryError

        own.model.model.register_forward_hook(fails)
        updater = Updater(own, Optimizer(own.model, config.optimizer, 10), config)
        update = updater.update(batch, config.resolved_stages()[0], seed=0, step=0, at=0)
        ends.append((own.model.state_dict(), update.metrics))
        assert own.model.model.layers[0].gradient_checkpointing == (fails_at is not None)
    for key, value in ends[0][0].items():
        torch.testing.assert_close(ends[1][0][key], value, rtol=1e-4, atol=1e-6)
    assert ends[1][1]["updates"] == ends[0][1]["updates"] == 2
    assert ends[1][1]["ratio_mean"] == pytest.approx(ends[0][1]["ratio_mean"], rel=1e-5)


@torch.no_grad()
def _trainers(policy, batch) -> np.ndarray:
    return policy.logprobs(batch)[0].numpy()
