"""The same batch through the real GRPOTrainer with our bridge, and through our own engine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from transformers import TrainerCallback

from gppo.bridges.trl import GPPOConfig, GPPOTrainer
from gppo.config import ModelConfig, RLConfig, TinyConfig
from gppo.policy import Optimizer, Policy, load_policy
from gppo.rl.update import Updater
from gppo.types import Batch

PROMPTS, GROUP, LONGEST = 4, 4, 12
ROWS = PROMPTS * GROUP
QUIET: dict[str, Any] = {
    "bf16": False,
    "use_cpu": True,
    "activation_checkpointing": False,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 1,
    "disable_tqdm": True,
    "dataloader_pin_memory": False,
    "max_completion_length": LONGEST,
}


def tiny_policy(seed: int = 0) -> Policy:
    shape = TinyConfig(hidden_size=32, layers=2, heads=2, kv_heads=1)
    return load_policy(ModelConfig(tiny=shape, tokenizer="bytes", max_context=64), seed=seed)


class Replayed:
    """Fixed responses of 2 to 12 tokens with fixed rewards, as TRL asks for them."""

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        prompts = [rng.integers(5, 200, size=n).tolist() for n in rng.integers(2, 7, size=PROMPTS)]
        self.prompt_ids = [prompt for prompt in prompts for _ in range(GROUP)]
        self.completion_ids = [rng.integers(5, 200, size=n).tolist() for n in rng.integers(2, LONGEST, size=ROWS)]
        self.rewards = rng.choice([-1.0, -0.5, 0.25, 1.0], size=ROWS)
        self.mine = slice(ROWS)
        self.rewards[:GROUP] = 1.0  # a group that teaches nothing, though all of it is right

    def rollout(self, prompts: Sequence[Any], trainer: Any) -> dict[str, list]:
        first = trainer.accelerator.process_index * len(prompts)
        mine = self.mine = slice(first, first + len(prompts))
        nothing = [[0.0] * len(ids) for ids in self.completion_ids[mine]]
        return {
            "prompt_ids": self.prompt_ids[mine],
            "completion_ids": self.completion_ids[mine],
            "logprobs": nothing,
        }

    def reward(self, prompts: Sequence[Any], **_: Any) -> list[float]:
        return self.rewards[self.mine].tolist()


@dataclass
class Shaken(TrainerCallback):
    """Moves the weights after the first step, so that the second has ratios on both sides of every clip range."""

    noise: float = 0.03
    gradient: dict[str, Tensor] = field(default_factory=dict)
    weights: dict[str, Tensor] = field(default_factory=dict)
    trainer: Any = None
    buffered: list[dict[str, Tensor]] = field(default_factory=list)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step == 0:
            generator = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter += self.noise * torch.randn(parameter.shape, generator=generator)
        else:
            self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}
            self.gradient = {name: p.grad.clone() for name, p in model.named_parameters()}
            self.buffered = list(self.trainer._buffered_inputs)


def through_trl(folder: Path, policy: Policy, passes: int = 2, ranks: int = 1, **settings: Any) -> Shaken:
    """Two optimizer steps on one batch of responses, each in ``passes`` micro-batches on each of the ranks; what the
    second one saw."""
    replayed, seen = Replayed(), Shaken()
    args = GPPOConfig(
        str(folder),
        max_steps=2,
        num_generations=GROUP,
        num_iterations=2,
        per_device_train_batch_size=ROWS // passes // ranks,
        gradient_accumulation_steps=passes,
        steps_per_generation=passes,
        max_grad_norm=0.0,
        **(QUIET | settings),
    )
    nothing = torch.optim.SGD(policy.model.parameters(), lr=0.0)
    trainer = GPPOTrainer(
        policy.model,
        replayed.reward,
        args,
        Dataset.from_list([{"prompt": "?"}] * PROMPTS),
        processing_class=policy.tokenizer,
        callbacks=[seen],
        optimizers=(nothing, torch.optim.lr_scheduler.ConstantLR(nothing, factor=1.0)),
        rollout_func=replayed.rollout,
    )
    seen.trainer = trainer
    trainer.train()
    return seen


def batch_of(seen: Shaken) -> Batch:
    """What TRL kept of the responses, as our batch; its old log-probabilities as the sampler's."""
    whole = {name: torch.cat([part[name] for part in seen.buffered]) for name in ("prompt_ids", "prompt_mask")}
    whole |= {
        name: torch.cat([part[name] for part in seen.buffered])
        for name in ("completion_ids", "completion_mask", "advantages", "old_per_token_logps")
    }
    lm_rows = [part["lm_rows"] for part in seen.buffered if "lm_rows" in part]
    mask_BT = whole["completion_mask"].bool().numpy()
    pairs = zip(whole["prompt_ids"], whole["prompt_mask"].bool(), strict=True)
    return Batch(
        prompt_ids=tuple(ids[kept].numpy() for ids, kept in pairs),
        response_ids_BT=np.where(mask_BT, whole["completion_ids"].numpy(), 0),
        mask_BT=mask_BT,
        sampled_logprobs_BT=np.where(mask_BT, whole["old_per_token_logps"].numpy(), 0).astype(np.float32),
        advantages_B=whole["advantages"].double().numpy(),
        policy_row_B=np.ones(ROWS, dtype=bool),
        correct_B=torch.cat(lm_rows).numpy() if lm_rows else np.zeros(ROWS, dtype=bool),
        group_B=np.zeros(ROWS, dtype=np.int64),
    )


def through_ours(seen: Shaken, reference: Policy | None = None, **rl: Any) -> tuple[dict[str, Tensor], dict]:
    """The gradient that our engine's update has at the same weights on the same batch, and its metrics."""
    policy = tiny_policy()
    own = dict(policy.model.named_parameters())
    with torch.no_grad():
        for name, value in seen.weights.items():
            own[name].copy_(value)
    config = RLConfig.model_validate(
        {
            "stages": [{"name": "x", "data": "unused.jsonl", "steps": 1}],
            "prompts_per_step": 1,
            "mini_batch_prompts": 1,
            "old_logprobs": "sampled",
            "lm_loss": {"alpha": 0.0},
            "micro_batch_tokens": 64,
            **rl,
        }
    )
    optimizer = Optimizer(policy.model, config.optimizer, 1)
    gradient: dict[str, Tensor] = {}

    def look(at: int) -> float:
        gradient.update({name: p.grad.clone() for name, p in own.items() if p.grad is not None})
        return 1.0

    optimizer.step = look  # type: ignore[method-assign]
    (stage,) = config.resolved_stages()
    update = Updater(policy, optimizer, config, reference).update(batch_of(seen), stage, seed=0, step=0, at=0)
    return gradient, update.metrics


def far_apart(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """The largest difference, in units of the largest entry of the second."""
    assert set(one) == set(two)
    largest = max(float(value.abs().max()) for value in two.values())
    assert largest > 0
    return max(float((one[name] - two[name]).abs().max()) for name in two) / largest
