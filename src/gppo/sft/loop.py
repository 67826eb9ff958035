"""The loop of supervised fine-tuning: samples -> logprobs -> update -> checkpoint."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gppo.config.sft import SFTConfig
from gppo.policy import (
    ALONE,
    Checkpoints,
    Optimizer,
    Policy,
    World,
    idle,
    passes,
    place,
    seed_step,
    within_memory,
)
from gppo.run import RunFolder
from gppo.run.fingerprint import fingerprint
from gppo.run.interrupt import Interrupted, stop_requests
from gppo.run.order import permuted_indices
from gppo.run.where import note_another_place
from gppo.sft.data import Sample
from gppo.types import UserError

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
    world: World = ALONE,
    on_step: OnStep = lambda step, steps, loss: None,
) -> None:
    """Fine-tune the policy; continues from the run's newest good checkpoint.

    Logs one "sft" line a step to the run's metrics. Of several ranks each does its share of a step's samples.

    Raises:
        Interrupted: a signal asked to stop; a checkpoint was written.
        GppoError: gradients were not finite several times in a row, or a checkpoint could not be written.
        UserError: the data is not that of the run's beginning.
    """
    steps = total_steps(config, len(samples))
    optimizer = Optimizer(policy.model, config.optimizer, steps)
    here = place(policy.device) | {"ranks": world.size}
    state = {"stage": "sft", "steps": steps, "seed": seed, "data": _fingerprint(samples), "place": here}
    folder = run.checkpoints / "sft"
    with Checkpoints(folder, config.keep_checkpoints, world=world) as checkpoints, stop_requests() as heard:
        start = _resume(checkpoints, policy, optimizer, run, state)
        policy.model.train()
        for step in range(start, steps):
            began = time.perf_counter()
            seed_step(seed, step)
            order = permuted_indices(step * config.batch_size, config.batch_size, len(samples), [seed])
            chosen = [samples[i] for i in order]
            add_gradient = partial(_accumulate, policy, chosen, config.micro_batch_tokens, world)
            loss, tokens = within_memory(policy.model, add_gradient, alone=world.size == 1)
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
            checkpoints.check()
            last, stop = step + 1 == steps, world.agreed(heard)
            if last or stop or (config.save_every and (step + 1) % config.save_every == 0):
                # Metrics are flushed with it: after a power cut they must reach as far as the checkpoint does.
                checkpoints.start(step + 1, policy, optimizer, state, flush=(run.metrics,))
            if stop and not last:
                checkpoints.wait()
                raise Interrupted(
                    f"stopped after SFT step {step + 1} of {steps}; run the same command again to go on",
                    stop.signum or 2,
                )
    policy.model.eval()


def _resume(
    checkpoints: Checkpoints, policy: Policy, optimizer: Optimizer, run: RunFolder, state: dict[str, Any]
) -> int:
    """Steps that are done; weights, optimizer and metrics are put back to them.

    Raises:
        UserError: the samples are others than they were, or the checkpoint is another model's.
        GppoError: every checkpoint is damaged.
    """
    start = 0
    if found := checkpoints.restore(policy, optimizer):
        if found["data"] != state["data"]:
            raise UserError(
                f"{run.path}: the samples of sft.data are not those that the run began with; put the data back, or "
                "start anew with --fresh"
            )
        note_another_place(found["place"], state["place"])
        start = int(found["step"])
    run.truncate_metrics(lambda line: line.get("kind") != "sft" or line["step"] <= start)
    return start


def _fingerprint(samples: Sequence[Sample]) -> str:
    """Of every sample's length and mask, and of its ends: whole samples would take minutes at millions of them."""
    ends = (part for s in samples for part in (s.ids_L[:8].tobytes(), s.ids_L[-8:].tobytes()))
    sizes = np.array([(len(s.ids_L), s.mask_L.sum()) for s in samples], dtype=np.int64)
    return fingerprint(itertools.chain([sizes.tobytes()], ends))


def _accumulate(
    policy: Policy, samples: Sequence[Sample], token_budget: int, world: World = ALONE
) -> tuple[float, int]:
    """Add the gradient of the mean loss over all tokens of the batch, whatever the micro-batches and the ranks.

    Returns:
        the loss (nats a token) and the number of learned tokens, of all ranks.
    """
    tokens = int(sum(sample.mask_L[1:].sum() for sample in samples))

    def per_token(logprobs_n: Tensor, _part: slice) -> Tensor:
        return torch.full_like(logprobs_n, 1.0 / tokens)

    loss = torch.zeros((), dtype=torch.float64)
    lengths = np.array([len(sample.ids_L) for sample in samples])
    no_prompt = np.array([], dtype=np.int64)  # samples share nothing
    for part in passes(policy, world, [no_prompt] * len(samples), lengths, token_budget):
        if not len(part):
            idle(policy)
            continue
        batch = policy.tokens_from_masks([samples[i].ids_L for i in part], [samples[i].mask_L for i in part])
        logprobs_N, _, _ = policy.backward_N(batch, per_token)
        loss -= float(logprobs_N.sum()) / tokens
    return float(world.sum(loss)), tokens
