"""What clipping did to a mini-batch, in numbers for the metrics of a step."""

import math

import torch

from gppo.objectives._tokens import LOG_RATIO_LIMIT, clean_tokens

_QUANTILES = {"ratio_p01": 0.01, "ratio_p50": 0.5, "ratio_p99": 0.99, "ratio_max": 1.0}


def update_diagnostics(
    log_ratio_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    w_BT: torch.Tensor,
    mask: torch.Tensor,
    *,
    entropy_BT: torch.Tensor | None = None,
    epsilon_low: float = 0.2,
    epsilon_high: float = 0.28,
) -> dict[str, float]:
    """Numbers over the tokens of the mask; nothing is averaged over rows, so micro-batches are concatenated flat.

    Beyond means r > 1+eh (high) or r < 1-el (low). Clip-Higher drops the tokens of clip_positive_high and
    clip_negative_low; GPPO keeps them.

    Args:
        log_ratio_BT: log pi - log pi_old, nats, [B, T] or flat [N].
        advantages_BT: of that shape, or broadcasting to it.
        w_BT: the weights in use, same shape.
        mask: bool, same shape.
        entropy_BT: entropy of the distribution at each token, nats.
        epsilon_low: the clip range that shares are counted against.
        epsilon_high: the same, above.

    Returns:
        clip_positive_high, clip_positive_low, clip_negative_high, clip_negative_low: shares of tokens, by the sign of
            A and the side beyond which r lies.
        clip_fraction: clip_positive_high + clip_negative_low, what Clip-Higher drops.
        given_back: sum |w A| over those tokens / sum |w A| over all; 0 for Clip-Higher itself.
        would_drop: sum |r A| over those tokens / sum |r A| over all.
        ratio_mean, ratio_p01, ratio_p50, ratio_p99, ratio_max: of r, quantiles by nearest rank.
        saturated: share of tokens with a log-ratio of at least 20 nats either way.
        kl_old: KL(pi_old || pi) in nats, mean of r - 1 - log r (k3 of http://joschu.net/blog/kl-approx.html).
        entropy: mean, where ``entropy_BT`` is given.

        Without any token, shares and kl_old are 0 and ratios 1.
    """
    tokens = clean_tokens(log_ratio_BT, advantages_BT, mask)
    log_ratio = tokens.log_ratio[tokens.valid].double()
    advantages = tokens.advantages[tokens.valid].double()
    ratio = log_ratio.exp()
    count = max(ratio.numel(), 1)
    high = ratio > 1 + epsilon_high
    low = ratio < 1 - epsilon_low
    positive, negative = advantages > 0, advantages < 0
    dropped = (positive & high) | (negative & low)
    pull = (w_BT.detach()[tokens.valid].double() * advantages).abs()
    raw_pull = (ratio * advantages).abs()
    result = {
        "clip_positive_high": _number((positive & high).sum()) / count,
        "clip_positive_low": _number((positive & low).sum()) / count,
        "clip_negative_high": _number((negative & high).sum()) / count,
        "clip_negative_low": _number((negative & low).sum()) / count,
        "clip_fraction": _number(dropped.sum()) / count,
        "given_back": _share(pull, dropped),
        "would_drop": _share(raw_pull, dropped),
        "saturated": _number((log_ratio.abs() >= LOG_RATIO_LIMIT).sum()) / count,
        "kl_old": _number((torch.expm1(log_ratio) - log_ratio).sum()) / count,
        "ratio_mean": _number(ratio.sum()) / count if ratio.numel() else 1.0,
        **_nearest_ranks(ratio),
    }
    if entropy_BT is not None:
        result["entropy"] = _number(entropy_BT.detach()[tokens.valid].double().sum()) / count
    return result


def _share(amounts_N: torch.Tensor, chosen_N: torch.Tensor) -> float:
    """Sum over the chosen / sum over all; 0 where the latter is 0."""
    total = _number(amounts_N.sum())
    return _number(amounts_N[chosen_N].sum()) / total if total > 0 else 0.0


def _nearest_ranks(ratio_N: torch.Tensor) -> dict[str, float]:
    # torch.quantile refuses more than 16M elements, which a long mini-batch has.
    if not ratio_N.numel():
        return dict.fromkeys(_QUANTILES, 1.0)
    ordered_N = ratio_N.sort().values
    last = ratio_N.numel() - 1
    return {key: _number(ordered_N[math.floor(q * last + 0.5)]) for key, q in _QUANTILES.items()}


def _number(scalar: torch.Tensor) -> float:
    return float(scalar.item())
