"""What every formula of this room does first: make the numbers safe, and know which tokens count."""

from dataclasses import dataclass

import torch

from gppo.types import UserError

LOG_RATIO_LIMIT = 20.0
"""Log-ratios saturate here, in nats: e^20 is far outside every clip range, and finite in float32."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Cleaned inputs of an objective, all of one shape ([B, T] or [N]) and detached.

    Args:
        log_ratio: finite, within +-LOG_RATIO_LIMIT, 0 where not ``valid``; at least float32.
        advantages: 0 where not ``valid``.
        valid: bool; in the mask, the log-ratio not NaN, the advantage finite.
    """

    log_ratio: torch.Tensor
    advantages: torch.Tensor
    valid: torch.Tensor

    def zero_outside(self, values: torch.Tensor) -> torch.Tensor:
        """``values`` on valid tokens, exactly 0 on all others."""
        return torch.where(self.valid, values, torch.zeros_like(values))


def clean_tokens(log_ratio: torch.Tensor, advantages: torch.Tensor, mask: torch.Tensor) -> Tokens:
    """Broadcast, detach, saturate; masked and broken tokens become 0, so that nothing spreads from them."""
    log_ratio, advantages, mask = torch.broadcast_tensors(log_ratio.detach(), advantages.detach(), mask)
    valid = mask.bool() & ~log_ratio.isnan() & advantages.isfinite()
    return Tokens(saturated(log_ratio, valid), torch.where(valid, advantages, 0.0), valid)


def saturated(log_ratio: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Log-ratios in at least float32, clamped to +-LOG_RATIO_LIMIT, 0 where not ``valid``."""
    # Half precision cannot hold e^20, and its own rounding would move tokens over a clip edge.
    log_ratio = log_ratio.to(torch.promote_types(log_ratio.dtype, torch.float32))
    return torch.where(valid, log_ratio, 0.0).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)


def sequence_tokens(tokens: Tokens) -> Tokens:
    """Tokens [B, T] with each log-ratio replaced by its row's mean over valid tokens. UserError unless 2-D."""
    if tokens.log_ratio.ndim != 2:
        shape = tuple(tokens.log_ratio.shape)
        raise UserError(f"gspo got tensors of shape {shape}, but compares whole responses: give it padded [B, T] rows.")
    mean_B1 = tokens.log_ratio.sum(1, keepdim=True) / tokens.valid.sum(1, keepdim=True).clamp(min=1)
    return Tokens(mean_B1.expand_as(tokens.log_ratio), tokens.advantages, tokens.valid)
