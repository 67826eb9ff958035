"""The loop of supervised fine-tuning: samples -> logprobs -> update -> checkpoint."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from gppo.config.sft import SFTConfig
from gppo.policy import Checkpoints, Optimizer, Policy, within_memory
from gppo.run import RunFolder
from gppo.run.interrupt import Interrupted, stop_requests
from gppo.run.order import permuted_indices
from gppo.sft.data import Sample

#: (step, steps, loss)
OnStep = Callable[[int, int, float], None]


def total_steps(config: SFTConfig, count: int) -> int:
    """Optimizer steps of the run."""
    return config.steps or max(1, math.ceil((config.epochs or 1.0) * count / config.batch_size))


def train_sft(
    policy: Policy,
    samples: Sequence[Sample],
    config: SFTConfig,
    run: RunFolder,
    *,
    seed: int,
    on_step: OnStep = lambda step, steps, loss: None,
) -> None:
    """Fine-tune the policy; continues from the run's newest checkpoint.

    Logs one "sft" line a step to the run's metrics.

    Raises:
        Interrupted: a signal asked to stop; a checkpoint was written.
        GppoError: gradients were not finite several times in a row.
    """
    steps = total_steps(config, len(samples))
    optimizer = Optimizer(policy.model, config.optimizer, steps)
    checkpoints = Checkpoints(run.checkpoints / "sft", config.keep_checkpoints)
    newest = checkpoints.latest()
    start = Checkpoints.load(newest, policy, optimizer)["step"] if newest else 0
    run.truncate_metrics(lambda line: line.get("kind") != "sft" or line["step"] <= start)
    policy.model.train()
    with stop_requests() as stop:
        for step in range(start, steps):
            began = time.perf_counter()
            order = permuted_indices(step * config.batch_size, config.batch_size, len(samples), [seed])
            chosen = [samples[i] for i in order]
            add_gradient = partial(_accumulate, policy, chosen, config.micro_batch_tokens)
            loss, tokens = within_memory(policy.model, add_gradient)
            norm = optimizer.step(at=step)
            run.log(
                "sft",
                step=step + 1,
                loss=loss,
                grad_norm=norm,
                learning_rate=optimizer.learning_rate(step),
                tokens=tokens,
                seconds=time.perf_counter() - began,
            )
            on_step(step + 1, steps, loss)
            last = step + 1 == steps
            if last or stop or (config.save_every and (step + 1) % config.save_every == 0):
                checkpoints.save(step + 1, policy, optimizer, {"stage": "sft", "steps": steps})
            if stop and not last:
                raise Interrupted(
                    f"stopped after SFT step {step + 1} of {steps}; run the same command again to go on",
                    stop.signum or 2,
                )
    policy.model.eval()


def _accumulate(policy: Policy, samples: Sequence[Sample], token_budget: int) -> tuple[float, int]:
    """Add the gradient of the mean loss over all tokens of the batch, whatever the micro-batches.

    Returns:
        the loss (nats a token) and the number of learned tokens.
    """
    tokens = int(sum(sample.mask_L[1:].sum() for sample in samples))

    def per_token(logprobs_n: Tensor, _part: slice) -> Tensor:
        return torch.full_like(logprobs_n, 1.0 / tokens)

    loss = 0.0
    lengths = np.array([len(sample.ids_L) for sample in samples])
    no_prompt = np.array([], dtype=np.int64)  # samples share nothing
    for part in policy.micro_batches([no_prompt] * len(samples), lengths, token_budget):
        batch = policy.tokens_from_masks([samples[i].ids_L for i in part], [samples[i].mask_L for i in part])
        logprobs_N, _, _ = policy.backward_N(batch, per_token)
        loss -= float(logprobs_N.sum()) / tokens
    return loss, tokens
