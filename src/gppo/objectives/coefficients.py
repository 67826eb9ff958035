"""One detached coefficient per token: everything that an update does, added up.

    c = norm (correction w A)  +  lm_weight  -  beta norm k'(ref)

and the update is ``torch.autograd.backward(logprobs, -c)``: gradient ascent on  sum_t c_t log pi(token_t).
All of it works on [B, T] rows and, for objectives in ``TOKEN_LOCAL``, on flat [N] slices of them.
"""

from dataclasses import dataclass

import torch

from gppo.objectives.catalogue import Objective
from gppo.objectives.kl import kl_derivative
from gppo.objectives.weights import apply_dual_clip
from gppo.types import UserError


@dataclass(frozen=True, slots=True)
class TokenFields:
    """What is known about tokens before their coefficient is. All of one shape: [B, T] or flat [N].

    Args:
        log_ratio: log pi - log pi_old, nats.
        advantages: A of the token's response; may broadcast, e.g. [B, 1].
        mask: bool, True on response tokens that exist.
        norm: the factor of the token in the policy gradient (``token_norms``); 0 leaves the token out of it, and out
            of the KL penalty.
        old_logprobs: log pi_old, nats; ``dcpo`` and a KL penalty need it.
        lm_weight: ``lm_weights``: alpha / N_correct on tokens the LM term learns from, else 0. None: no such term.
        correction: ``correction_weights``. None: 1.
        ref_logprobs: log pi of the frozen reference model, nats. None: no KL penalty.
    """

    log_ratio: torch.Tensor
    advantages: torch.Tensor
    mask: torch.Tensor
    norm: torch.Tensor
    old_logprobs: torch.Tensor | None = None
    lm_weight: torch.Tensor | None = None
    correction: torch.Tensor | None = None
    ref_logprobs: torch.Tensor | None = None


def token_weights(
    fields: TokenFields, objective: Objective, *, dual_clip: float | None = None, dual_clip_keep: bool = False
) -> torch.Tensor:
    """The objective's weights w after the dual clip, of the fields' shape; finite, 0 on masked tokens.

    Args:
        fields: the tokens.
        objective: from ``get_objective``.
        dual_clip: bound on the ratio of tokens with A < 0; None is off.
        dual_clip_keep: give those tokens at most the weight ``dual_clip`` instead of 0.
    """
    w = objective(fields.log_ratio, fields.advantages, mask=fields.mask, old_logprobs_BT=fields.old_logprobs)
    if dual_clip is None:
        return w
    return apply_dual_clip(w, fields.log_ratio.detach(), fields.advantages.detach(), dual_clip, dual_clip_keep)


def token_coefficients(
    fields: TokenFields,
    objective: Objective,
    *,
    dual_clip: float | None = None,
    dual_clip_keep: bool = False,
    kl_beta: float = 0.0,
    kl_estimator: str = "k3",
) -> torch.Tensor:
    """c = norm (correction w A) + lm_weight - kl_beta norm k'(ref), the equation above.

    The KL penalty is normalised like the policy gradient, over the same tokens. A token whose advantage is not
    finite gets no policy term.

    Args:
        fields: the tokens.
        objective: from ``get_objective``.
        dual_clip: see ``token_weights``.
        dual_clip_keep: see ``token_weights``.
        kl_beta: weight of the KL penalty.
        kl_estimator: "k1", "k2" or "k3".

    Returns:
        Detached, of the fields' shape, in the log-ratio's dtype (float32 for half precision); exactly 0 outside the
        mask.

    Raises:
        UserError: a KL penalty without reference or old logprobs.
    """
    w = token_weights(fields, objective, dual_clip=dual_clip, dual_clip_keep=dual_clip_keep)
    advantages = torch.where(fields.advantages.isfinite(), fields.advantages, 0.0).detach().to(w.dtype)
    c = w * advantages
    if fields.correction is not None:
        c = c * fields.correction
    if kl_beta:
        if fields.ref_logprobs is None or fields.old_logprobs is None:
            raise UserError("A KL penalty (kl_beta > 0) needs ref_logprobs and old_logprobs in its TokenFields.")
        logprobs = fields.old_logprobs + fields.log_ratio
        c = c - kl_beta * kl_derivative(logprobs, fields.ref_logprobs, kl_estimator)
    c = c * fields.norm
    if fields.lm_weight is not None:
        c = c + fields.lm_weight
    return torch.where(fields.mask.bool(), c, 0.0).detach().to(w.dtype)
