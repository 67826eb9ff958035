"""Importance corrections between two programs that should agree: the sampler and the trainer.

rho = pi_train_old / pi_infer for the sampled token, from its log-ratio in nats. Results are detached, finite for any
input, and 0 on masked and NaN tokens. They multiply the policy-gradient part of the coefficient.
"""

import math

import torch

from gppo.objectives._tokens import LOG_RATIO_LIMIT, saturated
from gppo.types import UserError

CORRECTIONS = ("none", "tis", "icepop", "mis")


def tis(log_ratio_BT: torch.Tensor, *, mask: torch.Tensor, cap: float = 2.0) -> torch.Tensor:
    """Truncated importance sampling, token by token: min(rho, cap). https://fengyao.notion.site/off-policy-rl.

    Args:
        log_ratio_BT: log pi_train_old - log pi_infer, nats, [B, T] or [N].
        mask: bool, same shape.
        cap: upper bound on rho.
    """
    valid = mask.bool() & ~log_ratio_BT.isnan()
    return torch.where(valid, saturated(log_ratio_BT.detach(), valid).exp().clamp(max=cap), 0.0)


def icepop(log_ratio_BT: torch.Tensor, *, mask: torch.Tensor, low: float = 0.5, high: float = 5.0) -> torch.Tensor:
    """IcePop, token by token: rho inside [low, high], else 0. https://ringtech.notion.site/icepop.

    Args:
        log_ratio_BT: log pi_train_old - log pi_infer, nats, [B, T] or [N].
        mask: bool, same shape.
        low: smallest rho that is kept.
        high: largest rho that is kept.
    """
    valid = mask.bool() & ~log_ratio_BT.isnan()
    rho = saturated(log_ratio_BT.detach(), valid).exp()
    return torch.where(valid & (rho >= low) & (rho <= high), rho, 0.0)


def mis(log_ratio_BT: torch.Tensor, *, mask: torch.Tensor, cap: float = 2.0) -> torch.Tensor:
    """Masked importance sampling, row by row: rho_b = prod_t rho_t for every token of the row, 0 where rho_b > cap.

    The Seq-MIS of "When Speed Kills Stability" and of TRL's ``sequence_mask``: the product of the ratios, not their
    geometric mean. https://github.com/huggingface/trl/issues/4493.

    Args:
        log_ratio_BT: log pi_train_old - log pi_infer, nats, [B, T].
        mask: bool [B, T].
        cap: rows with a larger rho_b are dropped whole.
    """
    if log_ratio_BT.ndim != 2:
        shape = tuple(log_ratio_BT.shape)
        raise UserError(f"mis got a tensor of shape {shape}, but weighs whole responses: give it padded [B, T] rows.")
    valid_BT = mask.bool() & ~log_ratio_BT.isnan()
    log_rho_B1 = saturated(log_ratio_BT.detach(), valid_BT).sum(dim=1, keepdim=True)
    rho_B1 = log_rho_B1.clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT).exp().masked_fill(log_rho_B1 > math.log(cap), 0.0)
    return torch.where(valid_BT, rho_B1, 0.0)


def correction_weights(
    kind: str,
    log_ratio_BT: torch.Tensor,
    *,
    mask: torch.Tensor,
    cap: float = 2.0,
    low: float = 0.5,
    high: float = 5.0,
) -> torch.Tensor:
    """The correction a recipe names: "tis", "icepop", "mis", or "none" (1 on every token of the mask).

    Raises:
        UserError: unknown ``kind``, or "mis" on flat tensors.
    """
    if kind == "tis":
        return tis(log_ratio_BT, mask=mask, cap=cap)
    if kind == "icepop":
        return icepop(log_ratio_BT, mask=mask, low=low, high=high)
    if kind == "mis":
        return mis(log_ratio_BT, mask=mask, cap=cap)
    if kind == "none":
        return mask.to(torch.promote_types(log_ratio_BT.dtype, torch.float32))
    raise UserError(f"Correction '{kind}' is not known: use one of {', '.join(CORRECTIONS)}.")
