"""The list of what exists: objectives by name, their parameters, and how each is normalised."""

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial

import torch

from gppo.objectives.weights import aspo, ce_gppo, cispo, clip_higher, dcpo, gppo, gspo, ppo, sapo
from gppo.types import UserError

Objective = Callable[..., torch.Tensor]
"""f(log_ratio_BT, advantages_BT, *, mask, old_logprobs_BT=None, **params) -> w_BT; see ``gppo.objectives.weights``."""

OBJECTIVES: dict[str, Objective] = {
    "ppo": ppo,
    "clip_higher": clip_higher,
    "gppo": gppo,
    "ce_gppo": ce_gppo,
    "cispo": cispo,
    "gspo": gspo,
    "sapo": sapo,
    "aspo": aspo,
    "dcpo": dcpo,
}

DEFAULT_NORMALISATION: dict[str, str] = {
    "ppo": "token_mean",
    "clip_higher": "token_mean",
    "gppo": "token_mean",
    "ce_gppo": "token_mean",
    "cispo": "token_mean",
    "gspo": "sequence_mean",
    "sapo": "token_mean",
    "aspo": "token_mean",
    "dcpo": "token_mean",
}

TOKEN_LOCAL: frozenset[str] = frozenset({"ppo", "clip_higher", "gppo", "ce_gppo", "cispo", "sapo", "aspo", "dcpo"})
"""Objectives whose weight reads one token only: flat [N] slices of a batch give the same weights as the batch."""

_RANGES: dict[str, tuple[float, float]] = {
    "epsilon_low": (0.0, 1.0),
    "epsilon_high": (0.0, 1e6),
    "beta_low": (0.0, 1e6),
    "beta_high": (0.0, 1e6),
    "tau_positive": (1e-6, 1e6),
    "tau_negative": (1e-6, 1e6),
    "ratio_cap": (1.0, 1e6),
}


def default_params(name: str) -> dict[str, float]:
    """The parameters of an objective with their published defaults. UserError where ``name`` does not exist."""
    if name not in OBJECTIVES:
        raise UserError(f"There is no objective '{name}'{_nearest(name, list(OBJECTIVES))}.")
    signature = inspect.signature(OBJECTIVES[name])
    return {key: p.default for key, p in signature.parameters.items() if key in _RANGES}


def get_objective(name: str, params: Mapping[str, float] | None = None) -> Objective:
    """The objective with its parameters bound.

    Args:
        name: a key of ``OBJECTIVES``.
        params: parameters that differ from the defaults, e.g. ``{"epsilon_high": 0.3}``.

    Raises:
        UserError: an unknown name or parameter (the message gives the nearest), or a value outside its range.
    """
    known, params = default_params(name), dict(params or {})
    for key, value in params.items():
        if key not in known:
            raise UserError(f"Objective '{name}' has no parameter '{key}'{_nearest(key, list(known))}.")
        low, high = _RANGES[key]
        if not low <= value <= high:
            raise UserError(f"Objective '{name}' got {key} = {value:g}: give a value from {low:g} to {high:g}.")
    return partial(OBJECTIVES[name], **params)


def _nearest(given: str, valid: list[str]) -> str:
    close = get_close_matches(given, valid, n=3, cutoff=0.5)
    hint = f" (near: {', '.join(close)})" if close else ""
    return f"{hint}: use one of {', '.join(valid)}"
