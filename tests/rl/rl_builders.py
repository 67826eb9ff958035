"""Small real parts for the tests of RL: a policy, problems, rollouts, groups, batches."""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gppo.config import ModelConfig, RLConfig, SFTConfig, TinyConfig
from gppo.miniature.math_world import chain_problem
from gppo.miniature.teachers import CAREFUL
from gppo.policy import Policy, load_policy
from gppo.run import RunFolder
from gppo.sft import encode_samples, train_sft
from gppo.types import Batch, Group, Problem, Rollout, Verdict

STAGE = {"name": "math", "data": "unused.jsonl", "steps": 4}
THOUGHT = "<think>3+4=7</think>\\boxed{7}"


def tiny_policy(seed: int = 0, max_context: int = 128) -> Policy:
    shape = TinyConfig(hidden_size=32, layers=2, heads=2, kv_heads=1)
    return load_policy(ModelConfig(tiny=shape, tokenizer="bytes", max_context=max_context), seed=seed)


def rl_config(stages: Sequence[dict[str, Any]] = (STAGE,), **over: Any) -> RLConfig:
    small = {
        "stages": list(stages),
        "prompts_per_step": 4,
        "group_size": 4,
        "mini_batch_prompts": 2,
        "learning_rate": 1e-3,
        "max_prompt_tokens": 32,
        "max_response_tokens": 24,
        "micro_batch_tokens": 512,
        "optimizer": {"warmup_steps": 0},
    }
    return RLConfig.model_validate(small | over)


def problem(name: str = "p", ability: str = "math", text: str = "3+4=?", answer: str = "7") -> Problem:
    return Problem(name, ({"role": "user", "content": text},), ability, answer)


def rollout(
    text: str = THOUGHT, *, length: int = 5, finish_reason: str = "stop", sample: int = 0, name: str = "p"
) -> Rollout:
    ids_T = np.arange(1, length + 1)
    return Rollout(name, sample, np.array([9, 9]), ids_T, -0.1 * ids_T.astype(np.float32), text, finish_reason)


def verdict(status: str = "correct", score: float | None = None) -> Verdict:
    return Verdict(status, float(status == "correct") if score is None else score)


def group(
    rewards: Sequence[float],
    name: str = "p",
    lengths: Sequence[int] | None = None,
    truncated: Sequence[int] = (),
    correct: Sequence[bool] | None = None,
) -> Group:
    """A judged group with the given rewards; correct where the reward is 1 unless said otherwise."""
    lengths = lengths or [3] * len(rewards)
    rollouts = [
        rollout(length=n, sample=g, name=name, finish_reason="length" if g in truncated else "stop")
        for g, n in enumerate(lengths)
    ]
    statuses = ["infra" if np.isnan(r) else "correct" if r == 1 else "wrong" for r in rewards]
    found = correct if correct is not None else [r == 1 for r in rewards]
    return Group(
        problem(name), tuple(rollouts), tuple(map(verdict, statuses)), np.array(rewards, dtype=float), np.array(found)
    )


@torch.no_grad()
def random_batch(
    policy: Policy, *, groups: int = 4, size: int = 3, noise: float = 0.0, seed: int = 0, temperature: float = 1.0
) -> Batch:
    """Random prompts and responses; sampled logprobs are the policy's own plus normal noise of the given size."""
    rng = np.random.default_rng(seed)
    rows = groups * size
    lengths_B = rng.integers(2, 12, size=rows)
    mask_BT = np.arange(lengths_B.max()) < lengths_B[:, None]
    shape = mask_BT.shape
    advantages_PG = rng.normal(size=(groups, size))
    batch = Batch(
        prompt_ids=tuple(rng.integers(5, 200, size=n) for n in rng.integers(2, 7, size=rows)),
        response_ids_BT=np.where(mask_BT, rng.integers(5, 200, size=shape), 0),
        mask_BT=mask_BT,
        sampled_logprobs_BT=np.zeros(shape, dtype=np.float32),
        advantages_B=(advantages_PG - advantages_PG.mean(axis=1, keepdims=True)).reshape(-1),
        policy_row_B=np.ones(rows, dtype=bool),
        correct_B=rng.random(rows) < 0.4,
        group_B=np.repeat(np.arange(groups), size),
    )
    return with_sampled(policy, batch, rng.normal(size=shape) * noise, temperature)


@torch.no_grad()
def with_sampled(policy: Policy, batch: Batch, noise_BT: np.ndarray, temperature: float = 1.0) -> Batch:
    """The batch as a sampler would have left it whose logprobs are off by the noise."""
    exact_BT = policy.logprobs(batch, temperature)[0].numpy()
    return replace(batch, sampled_logprobs_BT=np.where(batch.mask_BT, exact_BT + noise_BT, 0).astype(np.float32))


def sums(seed: int, count: int) -> list[Problem]:
    """Different sums of two digits."""
    pairs = np.random.default_rng(seed).permutation([(a, b) for a in range(1, 10) for b in range(1, 10)])
    return [chain_problem([int(a), int(b)]) for a, b in pairs[:count]]


def taught_policy(folder: Path) -> Policy:
    """A tiny policy that writes "<think>3+4=7</think>\\boxed{7}" in form, and is right now and then."""
    policy, rng = tiny_policy(), np.random.default_rng(0)
    turns = [(*p.prompt, {"role": "assistant", "content": CAREFUL.solve(p, rng)}) for p in sums(0, 64)]
    samples, _ = encode_samples(policy.tokenizer, turns, 128)
    rates = {"learning_rate": 1e-2, "min_learning_rate": 1e-3}
    config = SFTConfig(data="unused.jsonl", steps=80, batch_size=32, optimizer=rates)
    train_sft(policy, samples, config, RunFolder.create(folder, "name: taught\n"), seed=0)
    return policy


def copy_of(policy: Policy) -> Policy:
    return Policy(copy.deepcopy(policy.model), policy.tokenizer)


def same_weights(one: Policy, two: Policy) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
