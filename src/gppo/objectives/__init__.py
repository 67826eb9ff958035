"""The mathematics of an update: objectives as token weights, advantages, and the one coefficient per token.

    w_BT = OBJECTIVES["gppo"](log_ratio_BT, advantages_BT, mask=mask_BT)
    c_BT = token_coefficients(TokenFields(...), get_objective("gppo"))
    torch.autograd.backward(logprobs_BT, -c_BT)

Pure functions on detached tensors: no state, no autograd but in ``surrogate_loss``.
"""

from gppo.objectives._tokens import LOG_RATIO_LIMIT
from gppo.objectives.advantages import group_advantages, zero_advantage_groups
from gppo.objectives.catalogue import (
    DEFAULT_NORMALISATION,
    OBJECTIVES,
    TOKEN_LOCAL,
    Objective,
    default_params,
    get_objective,
)
from gppo.objectives.coefficients import TokenFields, token_coefficients, token_weights
from gppo.objectives.corrections import correction_weights, icepop, mis, tis
from gppo.objectives.diagnostics import update_diagnostics
from gppo.objectives.kl import kl_derivative, kl_value
from gppo.objectives.normalisation import NORMALISATIONS, lm_weights, token_norms
from gppo.objectives.surrogate import surrogate_loss
from gppo.objectives.weights import apply_dual_clip

__all__ = [
    "DEFAULT_NORMALISATION",
    "LOG_RATIO_LIMIT",
    "NORMALISATIONS",
    "OBJECTIVES",
    "TOKEN_LOCAL",
    "Objective",
    "TokenFields",
    "apply_dual_clip",
    "correction_weights",
    "default_params",
    "get_objective",
    "group_advantages",
    "icepop",
    "kl_derivative",
    "kl_value",
    "lm_weights",
    "mis",
    "surrogate_loss",
    "tis",
    "token_coefficients",
    "token_norms",
    "token_weights",
    "update_diagnostics",
    "zero_advantage_groups",
]
