"""Objectives as a loss, for people with their own training loop.

    loss = surrogate_loss(logprobs_BT, old_logprobs_BT, advantages_BT[:, None], mask_BT, "gppo")
    loss.backward()

The gradient is that of the coefficients, so it holds for every objective. The value is  - sum_t norm_t v_t A_t  with

    ppo, clip_higher, dcpo   v = the ratio, bounded one-sidedly: v A = min(r A, clip(r) A), each paper's surrogate
    gspo                     the same with the sequence ratio s
    gppo, ce_gppo            v = w; with betas 1 this is the paper's Eq. 11, and equal to clip_higher's value
    aspo                     v = w
    sapo                     v = 4/tau sigma(tau (r-1))
    cispo                    v = w log pi(token)

With a dual clip, v is at most ``dual_clip`` where it bites (and w is 0, or ``dual_clip``: ``dual_clip_keep``).
"""

from collections.abc import Callable, Mapping

import torch

from gppo.objectives._tokens import Tokens, clean_tokens, sequence_tokens
from gppo.objectives.catalogue import DEFAULT_NORMALISATION, default_params, get_objective
from gppo.objectives.coefficients import TokenFields, token_coefficients
from gppo.objectives.normalisation import token_norms
from gppo.objectives.weights import apply_dual_clip, dcpo_log_bounds, one_sided, sapo_tau


def surrogate_loss(
    logprobs_BT: torch.Tensor,
    old_logprobs_BT: torch.Tensor,
    advantages_BT: torch.Tensor,
    mask: torch.Tensor,
    objective: str = "gppo",
    *,
    params: Mapping[str, float] | None = None,
    normalisation: str | None = None,
    constant_length: int | None = None,
    dual_clip: float | None = None,
    dual_clip_keep: bool = False,
) -> torch.Tensor:
    """A scalar to minimise over one mini-batch; value and gradient as the module says.

    Args:
        logprobs_BT: log pi(token), nats, [B, T], differentiable.
        old_logprobs_BT: log pi_old(token), nats, [B, T].
        advantages_BT: [B, T] or [B, 1].
        mask: bool [B, T], True on response tokens.
        objective: a key of ``OBJECTIVES``.
        params: its parameters that differ from the defaults.
        normalisation: one of ``NORMALISATIONS``; None takes the objective's own.
        constant_length: tokens, for "constant".
        dual_clip: bound on the ratio of tokens with A < 0; None is off.
        dual_clip_keep: keep those tokens' gradient at that bound instead of dropping it.

    Raises:
        UserError: unknown objective, parameter or normalisation.
    """
    weigh = get_objective(objective, params)
    logprobs, old_logprobs = logprobs_BT.detach(), old_logprobs_BT.detach()
    norm = token_norms(
        mask,
        normalisation or DEFAULT_NORMALISATION[objective],
        constant_length=constant_length,
        dtype=torch.promote_types(logprobs.dtype, torch.float32),
    )
    fields = TokenFields(logprobs - old_logprobs, advantages_BT.detach(), mask, norm, old_logprobs)
    c = token_coefficients(fields, weigh, dual_clip=dual_clip, dual_clip_keep=dual_clip_keep)
    tokens = clean_tokens(fields.log_ratio, fields.advantages, mask)
    v = _VALUES[objective](tokens, old_logprobs, default_params(objective) | dict(params or {}))
    if dual_clip is not None:
        v = apply_dual_clip(v, tokens.log_ratio, tokens.advantages, dual_clip, keep=True)
    value = (norm * v * tokens.advantages).sum()
    # A padded token may hold -inf or NaN, and 0 * inf would spread: such logprobs leave the graph.
    steered = c * torch.where(mask.bool() & logprobs.isfinite(), logprobs_BT, 0.0)
    return -(value + (steered - steered.detach()).sum())


def _bounded_ratio(tokens: Tokens, old_logprobs_BT: torch.Tensor, params: dict[str, float]) -> torch.Tensor:
    return get_objective("gppo", params)(tokens.log_ratio, tokens.advantages, mask=tokens.valid)


def _bounded_sequence_ratio(tokens: Tokens, old_logprobs_BT: torch.Tensor, params: dict[str, float]) -> torch.Tensor:
    return _bounded_ratio(sequence_tokens(tokens), old_logprobs_BT, params)


def _dcpo_value(tokens: Tokens, old_logprobs_BT: torch.Tensor, params: dict[str, float]) -> torch.Tensor:
    low_BT, high_BT = dcpo_log_bounds(old_logprobs_BT, tokens.log_ratio.dtype, **params)
    return one_sided(tokens, (low_BT, high_BT), below=low_BT.exp(), above=high_BT.exp())


def _sapo_value(tokens: Tokens, old_logprobs_BT: torch.Tensor, params: dict[str, float]) -> torch.Tensor:
    tau = sapo_tau(tokens, **params)
    return tokens.zero_outside(4 / tau * torch.sigmoid(tau * torch.expm1(tokens.log_ratio)))


def _aspo_value(tokens: Tokens, old_logprobs_BT: torch.Tensor, params: dict[str, float]) -> torch.Tensor:
    return get_objective("aspo", params)(tokens.log_ratio, tokens.advantages, mask=tokens.valid)


def _cispo_value(tokens: Tokens, old_logprobs_BT: torch.Tensor, params: dict[str, float]) -> torch.Tensor:
    w_BT = get_objective("cispo", params)(tokens.log_ratio, tokens.advantages, mask=tokens.valid)
    logprobs_BT = tokens.log_ratio + old_logprobs_BT
    return w_BT * torch.where(tokens.valid & logprobs_BT.isfinite(), logprobs_BT, 0.0)


_VALUES: dict[str, Callable[[Tokens, torch.Tensor, dict[str, float]], torch.Tensor]] = {
    "ppo": _bounded_ratio,
    "clip_higher": _bounded_ratio,
    "gppo": _bounded_ratio,
    "ce_gppo": _bounded_ratio,
    "cispo": _cispo_value,
    "gspo": _bounded_sequence_ratio,
    "sapo": _sapo_value,
    "aspo": _aspo_value,
    "dcpo": _dcpo_value,
}
