"""What is fixed before the first update of a step: the old log-probabilities, their correction, the reference's."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gppo.config.rl import RLConfig
from gppo.objectives import correction_weights
from gppo.policy import ALONE, Policy, World, give_back, idle, passes
from gppo.types import Batch

#: Nats between sampler and trainer, averaged over tokens, up to which the sampler's logprobs serve as the old ones.
TRUSTED_MISMATCH = 1e-3


@dataclass(frozen=True, slots=True)
class Fixed:
    """What does not change while the updates of a step are made. Float32 [B, T] on the CPU.

    Args:
        old_BT: the old log-probabilities, nats: what ratios are against.
        correction_BT: weights that correct from the sampler to the trainer, where the recipe has a correction.
        ref_BT: log-probabilities under the reference model, nats, where there is one.
    """

    old_BT: Tensor
    correction_BT: Tensor | None
    ref_BT: Tensor | None


def look_before(
    policy: Policy,
    reference: Policy | None,
    batch: Batch,
    config: RLConfig,
    temperature: float,
    world: World = ALONE,
) -> tuple[Fixed, dict[str, float] | None]:
    """Old and reference logprobs, and how far the sampler's are from the trainer's.

    With ``old_logprobs: auto`` the sampler's are taken here; ``mismatch_of`` the first mini-batch, whose forward is
    needed anyway, tells whether they can be trusted.

    Returns:
        what is fixed; and the mismatch where the trainer's logprobs were computed, else None.
    """
    recompute = config.old_logprobs == "recompute" or config.correction.kind != "none"
    ref_BT = None
    if reference is not None:
        everything = np.arange(len(batch))
        ref_BT = evaluate_rows(reference, batch, everything, config.micro_batch_tokens, temperature, world)
    fixed = Fixed(torch.from_numpy(batch.sampled_logprobs_BT), None, ref_BT)
    return recomputed(policy, batch, fixed, config, temperature, world) if recompute else (fixed, None)


def recomputed(
    policy: Policy, batch: Batch, fixed: Fixed, config: RLConfig, temperature: float, world: World = ALONE
) -> tuple[Fixed, dict[str, float]]:
    """With the trainer's logprobs as the old ones, and the correction to them; and the mismatch over all rows."""
    sampled_BT, mask_BT = torch.from_numpy(batch.sampled_logprobs_BT), torch.from_numpy(batch.mask_BT)
    everything = np.arange(len(batch))
    trainer_BT = evaluate_rows(policy, batch, everything, config.micro_batch_tokens, temperature, world)
    correction_BT = None
    if config.correction.kind != "none":
        c = config.correction
        correction_BT = correction_weights(
            c.kind, trainer_BT - sampled_BT, mask=mask_BT, cap=c.cap, low=c.low, high=c.high
        )
    return Fixed(trainer_BT, correction_BT, fixed.ref_BT), mismatch_of(batch, trainer_BT, everything)


def mismatch_of(batch: Batch, trainer_BT: Tensor, rows: np.ndarray) -> dict[str, float]:
    """mismatch_mean and mismatch_max: nats a token between sampler and trainer, over the given rows."""
    gap_BT = (trainer_BT - torch.from_numpy(batch.sampled_logprobs_BT)).abs()
    gap_N = gap_BT[rows][torch.from_numpy(batch.mask_BT[rows])]
    return {"mismatch_mean": float(gap_N.mean()), "mismatch_max": float(gap_N.max())}


@torch.no_grad()
def evaluate_rows(
    policy: Policy, batch: Batch, rows: np.ndarray, token_budget: int, temperature: float, world: World = ALONE
) -> Tensor:
    """Log-probabilities of the given rows without gradient, float32 [B, T] on the CPU, 0 in other rows."""
    out_BT = torch.zeros(batch.mask_BT.shape)
    for part in parts_of(policy, batch, rows, token_budget, world):
        if not len(part):
            idle(policy)
            continue
        logprobs_bt, _ = policy.logprobs(batch.rows(part), temperature)
        out_BT[torch.from_numpy(part), : logprobs_bt.shape[1]] = logprobs_bt.float().cpu()
    give_back(policy)
    return world.sum(out_BT)


def parts_of(
    policy: Policy, batch: Batch, rows: np.ndarray, token_budget: int, world: World = ALONE
) -> list[np.ndarray]:
    """The given rows cut into micro-batches; of several ranks, this one's, of which some may be empty."""
    prompts = [batch.prompt_ids[row] for row in rows]
    return [rows[part] for part in passes(policy, world, prompts, batch.lengths_B[rows], token_budget)]
