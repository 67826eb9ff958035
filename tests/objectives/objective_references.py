"""Autograd references of every surrogate, written from the papers, and batches to compare on."""

import torch

from gppo.objectives import default_params


def random_batch(seed: int, rows: int = 5, length: int = 7, spread: float = 0.7):
    """(logprobs, old_logprobs, advantages, mask) in float64, [rows, length]; one advantage a row; ragged mask."""
    generator = torch.Generator().manual_seed(seed)
    old = -3 * torch.rand(rows, length, generator=generator, dtype=torch.float64) - 0.01
    logprobs = old + spread * torch.randn(rows, length, generator=generator, dtype=torch.float64)
    advantages = torch.randn(rows, 1, generator=generator, dtype=torch.float64).expand(rows, length).contiguous()
    lengths = torch.randint(1, length + 1, (rows, 1), generator=generator)
    mask = torch.arange(length)[None, :] < lengths
    return logprobs, old, advantages, mask


def surrogate_values(name, logprobs, old, advantages, mask, params=None, dual_clip=None, keep=False):
    """The differentiable surrogate of every token, [B, T]; its sum over tokens, normalised, is to be maximised."""
    p = default_params(name) | (params or {})
    ratio = (logprobs - old).exp()
    positive = advantages > 0
    if name in ("ppo", "clip_higher"):
        values = _clipped(ratio, advantages, 1 - p["epsilon_low"], 1 + p["epsilon_high"])
    elif name in ("gppo", "ce_gppo"):
        # Paper Eq. 12: the bound over a detached ratio, times the ratio.
        high, low = 1 + p["epsilon_high"], 1 - p["epsilon_low"]
        above = p["beta_high"] * high / ratio.detach() * ratio * advantages
        below = p["beta_low"] * low / ratio.detach() * ratio * advantages
        values = torch.where(positive & (ratio > high), above, ratio * advantages)
        values = torch.where(~positive & (ratio < low), below, values)
    elif name == "cispo":
        clipped = ratio.clamp(1 - p["epsilon_low"], 1 + p["epsilon_high"]).detach()
        values = clipped * advantages * logprobs
    elif name == "gspo":
        mean = (torch.where(mask, logprobs - old, 0.0).sum(1) / mask.sum(1)).exp()[:, None]
        values = _clipped(mean.expand_as(ratio), advantages, 1 - p["epsilon_low"], 1 + p["epsilon_high"])
    elif name == "sapo":
        positive64 = positive.double()
        tau = positive64 * p["tau_positive"] + (1 - positive64) * p["tau_negative"]
        values = 4 / tau * torch.sigmoid(tau * (ratio - 1)) * advantages
    elif name == "aspo":
        flipped = torch.where(positive, 1 / ratio.detach(), ratio.detach()).clamp(max=p["ratio_cap"])
        dropped = (positive & (ratio > 1 + p["epsilon_high"])) | (~positive & (ratio < 1 - p["epsilon_low"]))
        values = torch.where(dropped, 0.0, flipped / ratio.detach() * ratio * advantages)
    else:
        q = old.exp()
        low = 0.5 + 0.5 * (1 - 4 * p["epsilon_low"] / q).clamp(min=0).sqrt()
        high = (0.5 + 0.5 * (1 + 4 * p["epsilon_high"] / q).sqrt()).clamp(max=p["ratio_cap"])
        values = _clipped(ratio, advantages, low, high)
    if dual_clip is not None:
        beyond = ~positive & (ratio > dual_clip)
        bound = dual_clip * advantages
        kept = bound * ratio / ratio.detach()
        values = torch.where(beyond, kept if keep else bound, values)
    return values


def _clipped(ratio, advantages, low, high):
    low, high = torch.as_tensor(low, dtype=ratio.dtype), torch.as_tensor(high, dtype=ratio.dtype)
    clipped = torch.minimum(torch.maximum(ratio, low), high)
    return torch.minimum(ratio * advantages, clipped * advantages)


def reference_gradient(norm, mask, logprobs, **kwargs):
    """(sum of normalised values, its gradient with respect to the logprobs)."""
    leaf = logprobs.clone().requires_grad_()
    values = surrogate_values(logprobs=leaf, mask=mask, **kwargs)
    total = torch.where(mask, norm * values, 0.0).sum()
    (gradient,) = torch.autograd.grad(total, leaf)
    return total.detach(), gradient
