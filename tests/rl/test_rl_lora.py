"""SFT and RL of adapters: decoded with what is trained, learned, stopped and gone on with."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rl_builders import copy_of, random_batch, rl_config, sums, taught_policy

from gppo.config import LoRAConfig
from gppo.policy import Optimizer, Policy
from gppo.policy.family import in_family
from gppo.policy.lora import add_adapters
from gppo.rl import Watch, train_rl
from gppo.rl.update import Updater
from gppo.rollout import LocalSampler, Request
from gppo.run import RunFolder
from gppo.types import SamplingSettings
from gppo.verify.cases import CaseJudge


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    return taught_policy(tmp_path_factory.mktemp("sft") / "run")


def adapted(policy: Policy, stir: float = 0.0) -> Policy:
    model: Any = copy_of(policy).model
    add_adapters(model, LoRAConfig(rank=4, alpha=8), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += stir * torch.randn(parameter.shape, generator=generator)
    return Policy(model, policy.tokenizer)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_decoder_samples_with_the_adapters_of_now(taught: Policy, compiled: bool):
    policy = adapted(taught, stir=0.05)
    assert in_family(policy)
    sampler = LocalSampler(policy, compiled=compiled)
    requests = [Request("a", np.arange(40, 46), (0, 1, 2)), Request("b", np.arange(60, 63), (0, 1))]
    for _ in range(2):  # before and after the adapters change
        groups = sampler.generate(requests, SamplingSettings(max_tokens=24), seed=0, step=0)
        gaps, bare_gaps = [], []
        for request, group in zip(requests, groups, strict=True):
            for rollout in group:
                ids = torch.from_numpy(np.concatenate([request.prompt_ids, rollout.response_ids]))
                for model, into in ((policy.model, gaps), (taught.model, bare_gaps)):
                    with torch.no_grad():
                        logits_TV = model(input_ids=ids[None]).logits[0, len(request.prompt_ids) - 1 : -1]
                    exact_T = logits_TV.log_softmax(-1).gather(1, ids[len(request.prompt_ids) :, None]).squeeze(1)
                    into.append(float((exact_T - torch.from_numpy(rollout.sampled_logprobs)).abs().max()))
        assert max(gaps) < 1e-5
        assert max(bare_gaps) > 1e-2
        with torch.no_grad():
            for parameter in policy.model.parameters():
                if parameter.requires_grad:
                    parameter *= 1.5


def test_an_updates_gradient_is_that_of_autograd_through_the_surrogate(taught: Policy):
    policy = adapted(taught, stir=0.05)
    batch = random_batch(policy, noise=0.4)
    batch = replace(batch, correct_B=np.zeros(len(batch), dtype=bool))
    config = rl_config(old_logprobs="sampled", mini_batch_prompts=4, lm_loss={"alpha": 0.0})
    (stage,) = config.resolved_stages()
    optimizer = Optimizer(policy.model, config.optimizer, 1)
    seen: dict[str, torch.Tensor] = {}

    def look(at: int) -> float:
        seen.update({name: p.grad.clone() for name, p in policy.model.named_parameters() if p.grad is not None})
        policy.model.zero_grad(set_to_none=True)
        return 1.0

    optimizer.step = look  # type: ignore[method-assign]
    Updater(policy, optimizer, config).update(batch, stage, seed=0, step=0, at=0)

    # GPPO's Eq. 11 through autograd: beyond the range the bound, which the ratio's own gradient passes.
    loss, tokens = torch.zeros(()), batch.mask_BT.sum()
    for i, prompt in enumerate(batch.prompt_ids):
        response = batch.response_ids_BT[i][batch.mask_BT[i]]
        ids = torch.from_numpy(np.concatenate([prompt, response]))
        logits_TV = policy.model(input_ids=ids[None]).logits[0, len(prompt) - 1 : -1]
        logprobs_T = logits_TV.log_softmax(-1).gather(1, ids[len(prompt) :, None]).squeeze(1)
        ratio_T = (logprobs_T - torch.from_numpy(batch.sampled_logprobs_BT[i][batch.mask_BT[i]])).exp()
        advantage = float(batch.advantages_B[i])
        low_T, high_T = 0.8 / ratio_T.detach() * ratio_T, 1.28 / ratio_T.detach() * ratio_T
        bounded_T = torch.where(ratio_T > 1.28, high_T, ratio_T) if advantage > 0 else ratio_T
        bounded_T = torch.where(ratio_T < 0.8, low_T, bounded_T) if advantage < 0 else bounded_T
        loss = loss - (bounded_T * advantage).sum() / tokens
    loss.backward()
    expected = {name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None}
    assert expected.keys() == seen.keys()
    assert all(".lora_" in name for name in seen)
    largest = max(float(value.abs().max()) for value in expected.values())
    assert max(float((seen[name] - expected[name]).abs().max()) for name in seen) < 1e-5 * largest


class _KilledError(Exception):
    pass


def _run(folder: Path, policy: Policy, steps: int, interrupt_at: int | None = None) -> list[dict[str, Any]]:
    config = rl_config(
        [{"name": "math", "data": "unused.jsonl", "steps": steps}],
        max_response_tokens=32,
        prompts_per_step=8,
        group_size=8,
        mini_batch_prompts=4,
        learning_rate=2e-3,
        save_every=2,
    )
    run = RunFolder.create(folder, "name: loop\n")

    def on_step(step: int, *_: Any) -> None:
        if step == interrupt_at:
            raise _KilledError

    sampler, problems = LocalSampler(policy), {"math": sums(1, 8)}
    with CaseJudge() as judge, contextlib.suppress(_KilledError):
        train_rl(policy, sampler, judge, problems, config, run, seed=0, watch=Watch(on_step=on_step))
    return run.read_metrics("rl")


def test_rl_of_adapters_learns_and_a_killed_run_ends_like_another(taught: Policy, tmp_path: Path):
    whole = adapted(taught)
    metrics = _run(tmp_path / "whole", whole, steps=24)
    rewards = [line["reward_mean"] for line in metrics]
    assert np.mean(rewards[-8:]) > np.mean(rewards[:8]) + 0.08
    assert max(line["mismatch_max"] for line in metrics) < 1e-4  # sampled with the adapters that are trained
    _run(tmp_path / "stopped", adapted(taught), steps=24, interrupt_at=13)  # its newest checkpoint is that of step 12
    resumed = adapted(taught)
    again = _run(tmp_path / "stopped", resumed, steps=24)
    assert [line["reward_mean"] for line in again] == rewards
    one, two = whole.model.state_dict(), resumed.model.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    frozen = {name.replace(".base_layer.", "."): value for name, value in one.items() if ".lora_" not in name}
    assert all(torch.equal(value, frozen[name]) for name, value in taught.model.state_dict().items())
