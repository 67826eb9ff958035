"""From logits to a token: temperature, truncation, and the inverse of the distribution function."""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own name)

from gppo.types import SamplingSettings

#: Tokens that are cumulated at a time. In a larger vocabulary the block is found first, then the token in it.
BLOCK = 1024


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


def _find(mass_BN: Tensor, edge_B1: Tensor) -> tuple[Tensor, Tensor]:
    """The first index n whose cumulated mass lies above the edge [B, 1], and the mass before it [B, 1].

    Where rounding puts the edge at the whole mass or above, the last index with any mass.
    """
    cumulated_BN = mass_BN.cumsum(-1)
    below_BN = cumulated_BN <= edge_B1
    below_BN = below_BN & (cumulated_BN < cumulated_BN[:, -1:])
    index_B1 = below_BN.sum(-1, keepdim=True)
    return index_B1, cumulated_BN.gather(1, index_B1) - mass_BN.gather(1, index_B1)


def _inverse(logprobs_BV: Tensor, uniforms_B: Tensor) -> Tensor:
    """The token v with F(v-1) <= u < F(v) for each row, int64 [B]."""
    mass_BV = logprobs_BV.double().exp()
    if mass_BV.shape[1] <= 2 * BLOCK:
        # Scaling by the total absorbs rounding.
        return _find(mass_BV, uniforms_B[:, None] * mass_BV.sum(-1, keepdim=True))[0].squeeze(1)
    mass_BNv = F.pad(mass_BV, (0, -mass_BV.shape[1] % BLOCK)).unflatten(1, (-1, BLOCK))
    block_mass_BN = mass_BNv.sum(-1)
    edge_B1 = uniforms_B[:, None] * block_mass_BN.sum(-1, keepdim=True)
    block_B1, before_B1 = _find(block_mass_BN, edge_B1)
    inside_Bv = mass_BNv.gather(1, block_B1[:, :, None].expand(-1, 1, BLOCK)).squeeze(1)
    return (block_B1 * BLOCK + _find(inside_Bv, edge_B1 - before_B1)[0]).squeeze(1)


def tempered_draw(logits_BV: Tensor, uniforms_B: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
    """``draw`` without truncation; the temperature is a tensor, so that a compiled form serves all of them."""
    logprobs_BV = (logits_BV.float() / temperature).log_softmax(-1)
    tokens_B = _inverse(logprobs_BV, uniforms_B)
    return tokens_B, logprobs_BV.gather(1, tokens_B[:, None]).squeeze(1)


def penalised(logits_BV: Tensor, seen_BV: Tensor, penalty: float) -> Tensor:
    """Logits of tokens that were seen divided by the penalty where positive, else multiplied by it.

    https://arxiv.org/abs/1909.05858, section 4.1, as transformers and vLLM have it: before the temperature.
    """
    logits_BV = logits_BV.float()
    changed_BV = torch.where(logits_BV > 0, logits_BV / penalty, logits_BV * penalty)
    return torch.where(seen_BV, changed_BV, logits_BV)


def draw(
    logits_BV: Tensor, uniforms_B: Tensor, settings: SamplingSettings, seen_BV: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One token a row, and its log-probability under the distribution it was drawn from.

    Token v is drawn where F(v-1) <= u < F(v), F being the cumulated probabilities in float64: one uniform a token.
    Temperature 0 takes the largest logit, with its log-probability at temperature 1.

    Args:
        logits_BV: of the next token.
        uniforms_B: float64 in [0, 1).
        settings: temperature and truncation.
        seen_BV: bool, tokens that prompt or response hold; needed for a repetition penalty other than 1.

    Returns:
        tokens int64 [B], logprobs float32 [B].
    """
    if seen_BV is not None:
        logits_BV = penalised(logits_BV, seen_BV, settings.repetition_penalty)
    if settings.temperature == 0:
        logprobs_BV = logits_BV.float().log_softmax(-1)
        tokens_B = logprobs_BV.argmax(-1)
    else:
        logprobs_BV = sampled_distribution(logits_BV, settings)
        tokens_B = _inverse(logprobs_BV, uniforms_B)
    return tokens_B, logprobs_BV.gather(1, tokens_B[:, None]).squeeze(1)
