"""What is fixed before the first update of a step: the old log-probabilities, their correction, the reference's."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gppo.config.rl import RLConfig
from gppo.objectives import correction_weights
from gppo.policy import Policy
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
    policy: Policy, reference: Policy | None, batch: Batch, config: RLConfig, temperature: float
) -> tuple[Fixed, dict[str, float]]:
    """Old and reference logprobs, and how far the sampler's are from the trainer's.

    With ``old_logprobs: auto`` a sixteenth of the rows tells whether the sampler can be trusted.

    Returns:
        what is fixed, and the metrics mismatch_mean and mismatch_max (nats a token).
    """
    sampled_BT, mask_BT = torch.from_numpy(batch.sampled_logprobs_BT), torch.from_numpy(batch.mask_BT)
    everything = np.arange(len(batch))
    probe = np.argsort(batch.lengths_B, kind="stable")[::16]  # a few rows of every length
    recompute = config.old_logprobs == "recompute" or config.correction.kind != "none"
    rows = everything if recompute else probe
    trainer_BT = evaluate_rows(policy, batch, rows, config.micro_batch_tokens, temperature)
    gap_N = (trainer_BT - sampled_BT)[rows][mask_BT[rows]].abs()
    mismatch = {"mismatch_mean": float(gap_N.mean()), "mismatch_max": float(gap_N.max())}
    # Written so that a mismatch that is not a number is not trusted either.
    if config.old_logprobs == "auto" and not recompute and not mismatch["mismatch_mean"] <= TRUSTED_MISMATCH:
        recompute = True
        trainer_BT = evaluate_rows(policy, batch, everything, config.micro_batch_tokens, temperature)
    correction_BT = None
    if config.correction.kind != "none":
        c = config.correction
        correction_BT = correction_weights(
            c.kind, trainer_BT - sampled_BT, mask=mask_BT, cap=c.cap, low=c.low, high=c.high
        )
    ref_BT = None
    if reference is not None:
        ref_BT = evaluate_rows(reference, batch, everything, config.micro_batch_tokens, temperature)
    return Fixed(trainer_BT if recompute else sampled_BT, correction_BT, ref_BT), mismatch


@torch.no_grad()
def evaluate_rows(policy: Policy, batch: Batch, rows: np.ndarray, token_budget: int, temperature: float) -> Tensor:
    """Log-probabilities of the given rows without gradient, float32 [B, T] on the CPU, 0 in other rows."""
    out_BT = torch.zeros(batch.mask_BT.shape)
    for part in parts_of(policy, batch, rows, token_budget):
        logprobs_bt, _ = policy.logprobs(batch.rows(part), temperature)
        out_BT[torch.from_numpy(part), : logprobs_bt.shape[1]] = logprobs_bt.float().cpu()
    return out_BT


def parts_of(policy: Policy, batch: Batch, rows: np.ndarray, token_budget: int) -> list[np.ndarray]:
    """The given rows cut into micro-batches."""
    prompts = [batch.prompt_ids[row] for row in rows]
    return [rows[part] for part in policy.micro_batches(prompts, batch.lengths_B[rows], token_budget)]
