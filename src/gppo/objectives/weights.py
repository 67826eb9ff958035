"""Objectives as weights: the gradient of each one is  sum_t w_t * A_t * grad log pi(token_t).

Every function takes

    log_ratio_BT    log pi(token) - log pi_old(token), nats, any float dtype, [B, T] or flat [N]
    advantages_BT   same shape, or anything that broadcasts to it, e.g. [B, 1]
    mask            bool, same shape: True on response tokens that exist
    old_logprobs_BT log pi_old(token), nats; only ``dcpo`` reads it

and returns the weights w_BT: detached, finite for any input, 0 on masked tokens and where the log-ratio is NaN or the
advantage not finite, in the log-ratio's dtype (float32 for half precision). Log-ratios saturate at +-20 nats. Masked
tokens never change another token's weight. Below, r = exp(log_ratio) and A is the token's advantage.

``gspo`` looks at whole rows and needs [B, T]; all others look at one token at a time.
"""

import math

import torch
from torch.nn.functional import logsigmoid

from gppo.objectives._tokens import Tokens, clean_tokens, sequence_tokens
from gppo.types import UserError


def ppo(
    log_ratio_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    *,
    mask: torch.Tensor,
    old_logprobs_BT: torch.Tensor | None = None,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
) -> torch.Tensor:
    """PPO's clipped surrogate min(r A, clip(r, 1-el, 1+eh) A): w = r, and 0 beyond the clip range.

    Beyond means A > 0 and r > 1+eh, or A < 0 and r < 1-el. https://arxiv.org/abs/1707.06347, Eq. 7.
    """
    tokens = clean_tokens(log_ratio_BT, advantages_BT, mask)
    return one_sided(tokens, _log_bounds(epsilon_low, epsilon_high), below=0.0, above=0.0)


def clip_higher(
    log_ratio_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    *,
    mask: torch.Tensor,
    old_logprobs_BT: torch.Tensor | None = None,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
) -> torch.Tensor:
    """DAPO's Clip-Higher: ``ppo`` with more room above. https://arxiv.org/abs/2503.14476."""
    return ppo(log_ratio_BT, advantages_BT, mask=mask, epsilon_low=epsilon_low, epsilon_high=epsilon_high)


def gppo(
    log_ratio_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    *,
    mask: torch.Tensor,
    old_logprobs_BT: torch.Tensor | None = None,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
    beta_low: float = 1.0,
    beta_high: float = 1.0,
) -> torch.Tensor:
    """Gradient-preserving clipping: where ``ppo`` gives 0, the bound of the clip range.

    A > 0 and r > 1+eh: w = beta_high (1+eh).   A < 0 and r < 1-el: w = beta_low (1-el).   Else w = r.
    With both betas 1: https://arxiv.org/abs/2508.07629, Eq. 12. With betas: CE-GPPO, https://arxiv.org/abs/2509.20712.
    """
    tokens = clean_tokens(log_ratio_BT, advantages_BT, mask)
    below, above = beta_low * (1 - epsilon_low), beta_high * (1 + epsilon_high)
    return one_sided(tokens, _log_bounds(epsilon_low, epsilon_high), below=below, above=above)


def ce_gppo(
    log_ratio_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    *,
    mask: torch.Tensor,
    old_logprobs_BT: torch.Tensor | None = None,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.2,
    beta_low: float = 0.75,
    beta_high: float = 1.0,
) -> torch.Tensor:
    """``gppo`` with the settings of CE-GPPO's 7B runs. https://arxiv.org/abs/2509.20712."""
    return gppo(
        log_ratio_BT,
        advantages_BT,
        mask=mask,
        epsilon_low=epsilon_low,
        epsilon_high=epsilon_high,
        beta_low=beta_low,
        beta_high=beta_high,
    )


def cispo(
    log_ratio_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    *,
    mask: torch.Tensor,
    old_logprobs_BT: torch.Tensor | None = None,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
) -> torch.Tensor:
    """Clipped importance weights: w = clip(r, 1-el, 1+eh), whatever the sign of A.

    https://arxiv.org/abs/2508.07629, Eq. 16. MiniMax-M1 (https://arxiv.org/abs/2506.13585) has no lower side in its
    runs: epsilon_low = 1 gives that.
    """
    tokens = clean_tokens(log_ratio_BT, advantages_BT, mask)
    low, high = _log_bounds(epsilon_low, epsilon_high)
    return tokens.zero_outside(tokens.log_ratio.clamp(low, high).exp())


def gspo(
    log_ratio_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    *,
    mask: torch.Tensor,
    old_logprobs_BT: torch.Tensor | None = None,
    epsilon_low: float = 3e-4,
    epsilon_high: float = 4e-4,
) -> torch.Tensor:
    """Sequence ratio s = (prod_t r_t)^(1/T): ``ppo`` with s instead of r, for every token of the row.

    A row beyond the clip range loses all of its tokens. https://arxiv.org/abs/2507.18071.
    """
    tokens = sequence_tokens(clean_tokens(log_ratio_BT, advantages_BT, mask))
    return one_sided(tokens, _log_bounds(epsilon_low, epsilon_high), below=0.0, above=0.0)


def sapo(
    log_ratio_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    *,
    mask: torch.Tensor,
    old_logprobs_BT: torch.Tensor | None = None,
    tau_positive: float = 1.0,
    tau_negative: float = 1.05,
) -> torch.Tensor:
    """A soft gate instead of a clip: w = r sech^2(tau (r-1) / 2), tau by the sign of A.

    The derivative of 4/tau sigma(tau (r-1)) with respect to log pi. https://arxiv.org/abs/2511.20347.
    """
    tokens = clean_tokens(log_ratio_BT, advantages_BT, mask)
    z = sapo_tau(tokens, tau_positive, tau_negative) * torch.expm1(tokens.log_ratio)
    # sech^2(z/2) = 4 sigma(z) sigma(-z); as a sum of logarithms it neither overflows nor divides 0 by 0.
    return tokens.zero_outside((tokens.log_ratio + math.log(4) + logsigmoid(z) + logsigmoid(-z)).exp())


def aspo(
    log_ratio_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    *,
    mask: torch.Tensor,
    old_logprobs_BT: torch.Tensor | None = None,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
    ratio_cap: float = 3.0,
) -> torch.Tensor:
    """Flipped ratio for A > 0: w = min(1/r, cap), else min(r, cap); 0 beyond the clip range as in ``ppo``.

    https://arxiv.org/abs/2510.06062.
    """
    tokens = clean_tokens(log_ratio_BT, advantages_BT, mask)
    low, high = _log_bounds(epsilon_low, epsilon_high)
    positive, negative = tokens.advantages > 0, tokens.advantages < 0
    flipped = torch.where(positive, -tokens.log_ratio, tokens.log_ratio).clamp(max=math.log(ratio_cap)).exp()
    beyond = (positive & (tokens.log_ratio > high)) | (negative & (tokens.log_ratio < low))
    return tokens.zero_outside(flipped.masked_fill(beyond, 0.0))


def dcpo(
    log_ratio_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    *,
    mask: torch.Tensor,
    old_logprobs_BT: torch.Tensor | None = None,
    epsilon_low: float = 0.16,
    epsilon_high: float = 0.2,
    ratio_cap: float = 10.0,
) -> torch.Tensor:
    """``ppo`` with bounds that widen as q = pi_old(token) falls (``dcpo_log_bounds``).

    https://arxiv.org/abs/2509.02333. Raises UserError without ``old_logprobs_BT``.
    """
    tokens = clean_tokens(log_ratio_BT, advantages_BT, mask)
    bounds = dcpo_log_bounds(old_logprobs_BT, tokens.log_ratio.dtype, epsilon_low, epsilon_high, ratio_cap)
    return one_sided(tokens, bounds, below=0.0, above=0.0)


def apply_dual_clip(
    w_BT: torch.Tensor, log_ratio_BT: torch.Tensor, advantages_BT: torch.Tensor, dual_clip: float, keep: bool = False
) -> torch.Tensor:
    """Bound tokens with A < 0 and r > dual_clip: weight 0, or at most dual_clip where ``keep``.

    Shapes as above; returns [B, T] or [N]. Reads token ratios, whatever the objective.
    https://arxiv.org/abs/1912.09729; ``keep`` is the gradient-preserving form of it.
    """
    beyond = (advantages_BT < 0) & (log_ratio_BT > math.log(dual_clip))
    return torch.where(beyond, w_BT.clamp(max=dual_clip) if keep else torch.zeros_like(w_BT), w_BT)


def sapo_tau(tokens: Tokens, tau_positive: float, tau_negative: float) -> torch.Tensor:
    """SAPO's temperature per token, by the sign of its advantage."""
    # Not torch.where on two numbers: that rounds them to float32.
    return torch.full_like(tokens.log_ratio, tau_negative).masked_fill(tokens.advantages > 0, tau_positive)


def dcpo_log_bounds(
    old_logprobs_BT: torch.Tensor | None, dtype: torch.dtype, epsilon_low: float, epsilon_high: float, ratio_cap: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logarithms of DCPO's bounds on r: 1/2 + 1/2 sqrt(max(1 - 4 el/q, 0)) and 1/2 + 1/2 sqrt(1 + 4 eh/q).

    q = exp(old_logprobs_BT); the upper bound is at most ``ratio_cap``. A NaN logprob is taken as q = 1.
    """
    if old_logprobs_BT is None:
        raise UserError("dcpo needs old_logprobs_BT, the log-probabilities under the old policy: pass them.")
    # e^80 is the largest round power that float32 holds with room for the factor 4 epsilon.
    inverse_q_BT = (-old_logprobs_BT.detach().to(dtype)).nan_to_num(nan=0.0).clamp(0.0, 80.0).exp()
    low_BT = 0.5 + 0.5 * (1 - 4 * epsilon_low * inverse_q_BT).clamp(min=0.0).sqrt()
    high_BT = 0.5 + 0.5 * (1 + 4 * epsilon_high * inverse_q_BT).sqrt()
    return low_BT.log(), high_BT.clamp(max=ratio_cap).log()


def _log_bounds(epsilon_low: float, epsilon_high: float) -> tuple[float, float]:
    """log(1-el) and log(1+eh); epsilon_low = 1 opens the lower side."""
    return (math.log1p(-epsilon_low) if epsilon_low < 1 else -math.inf), math.log1p(epsilon_high)


def one_sided(
    tokens: Tokens,
    log_bounds: tuple[float, float] | tuple[torch.Tensor, torch.Tensor],
    *,
    below: float | torch.Tensor,
    above: float | torch.Tensor,
) -> torch.Tensor:
    """The ratio; ``above`` where A > 0 lies over the upper bound, ``below`` where A < 0 lies under the lower one."""
    low, high = log_bounds
    w = tokens.log_ratio.exp()
    w = torch.where((tokens.advantages > 0) & (tokens.log_ratio > high), above, w)
    w = torch.where((tokens.advantages < 0) & (tokens.log_ratio < low), below, w)
    return tokens.zero_outside(w)
