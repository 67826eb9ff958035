"""From logits to a token: temperature, truncation, and the inverse of the distribution function."""

import torch
from torch import Tensor

from gppo.types import SamplingSettings


def sampled_distribution(logits_BV: Tensor, settings: SamplingSettings) -> Tensor:
    """Log-probabilities of the distribution that is sampled from, nats, [B, V]; -inf where truncated away.

    top_k keeps the k largest; top_p then keeps the smallest set of most likely tokens whose mass reaches p. Ties at
    either edge are kept.
    """
    logprobs_BV = (logits_BV.float() / settings.temperature).log_softmax(-1)
    if settings.top_k and settings.top_k < logprobs_BV.shape[-1]:
        edge_B1 = logprobs_BV.topk(settings.top_k, dim=-1).values[:, -1:]
        logprobs_BV = logprobs_BV.masked_fill(logprobs_BV < edge_B1, -torch.inf).log_softmax(-1)
    if settings.top_p < 1:
        sorted_BV = logprobs_BV.sort(dim=-1, descending=True).values
        mass_before_BV = sorted_BV.exp().cumsum(-1) - sorted_BV.exp()
        kept_B = (mass_before_BV < settings.top_p).sum(-1)
        edge_B1 = sorted_BV.gather(1, kept_B[:, None] - 1)
        logprobs_BV = logprobs_BV.masked_fill(logprobs_BV < edge_B1, -torch.inf).log_softmax(-1)
    return logprobs_BV


def draw(logits_BV: Tensor, uniforms_B: Tensor, settings: SamplingSettings) -> tuple[Tensor, Tensor]:
    """One token a row, and its log-probability under the distribution it was drawn from.

    Token v is drawn where F(v-1) <= u < F(v), F being the cumulated probabilities in float64: one uniform a token.
    Temperature 0 takes the largest logit, with its log-probability at temperature 1.

    Args:
        logits_BV: of the next token.
        uniforms_B: float64 in [0, 1).
        settings: temperature and truncation.

    Returns:
        tokens int64 [B], logprobs float32 [B].
    """
    if settings.temperature == 0:
        logprobs_BV = logits_BV.float().log_softmax(-1)
        tokens_B = logprobs_BV.argmax(-1)
    else:
        logprobs_BV = sampled_distribution(logits_BV, settings)
        cumulated_BV = logprobs_BV.double().exp().cumsum(-1)
        # The right side skips tokens of probability zero; scaling by the total absorbs rounding.
        edge_B1 = uniforms_B[:, None] * cumulated_BV[:, -1:]
        tokens_B = torch.searchsorted(cumulated_BV, edge_B1, right=True).squeeze(1)
        tokens_B = tokens_B.clamp_(max=logits_BV.shape[-1] - 1)
    return tokens_B, logprobs_BV.gather(1, tokens_B[:, None]).squeeze(1)
