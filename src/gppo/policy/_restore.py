"""A checkpoint back into a policy and its optimizer."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from gppo.policy._manifest import why_damaged
from gppo.policy._snapshot import OPTIMIZER, join, read_tensors
from gppo.policy.load import first_line, load_weights
from gppo.policy.lora import ADAPTER_FILE, has_adapters, read_adapters
from gppo.policy.model import Policy
from gppo.policy.optimizer import Optimizer
from gppo.types import UserError


def load_model(path: Path, policy: Policy) -> dict[str, Any]:
    """Put a checkpoint's weights into the policy, without its optimizer, and return the state saved with them.

    Raises:
        UserError: the checkpoint belongs to another architecture, or is damaged; the model is as it was.
    """
    refuse_damaged(path)
    _put(policy, _weights_for(policy, path))
    return json.loads((path / "state.json").read_text())


def refuse_damaged(path: Path) -> None:
    """A UserError where a checkpoint is damaged. Reads every byte of it."""
    if reason := why_damaged(path):
        raise UserError(
            f"{path} is damaged ({reason}); remove this checkpoint's folder to continue from the one before, or start "
            "anew with --fresh"
        )


def load_all(path: Path, policy: Policy, optimizer: Optimizer) -> dict[str, Any]:
    """Put weights and optimizer back from a checkpoint that is not damaged, and return the state; errors as above."""
    weights = _weights_for(policy, path)
    try:
        plan, moments = read_tensors(path / OPTIMIZER, policy.device)
        optimizer.load_state_dict(join(json.loads(plan), moments))
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise UserError(
            f"{path / OPTIMIZER} is not of this run ({first_line(error)}); use the recipe that made it, or start anew "
            "with --fresh"
        ) from error
    _put(policy, weights)
    return json.loads((path / "state.json").read_text())


def _weights_for(policy: Policy, path: Path) -> dict[str, torch.Tensor]:
    # Through transformers: it knows files in several parts, tied weights, and names that differ on disk (experts).
    own = policy.trained()
    adapters = (path / ADAPTER_FILE).is_file()
    fits = adapters == has_adapters(policy.model)
    if fits:
        dtype = next(policy.model.parameters()).dtype
        weights = read_adapters(path) if adapters else load_weights(str(path), dtype).state_dict()
        fits = {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in own.items()}
    if not fits:
        raise UserError(
            f"{path}: the checkpoint's weights do not fit the model of the recipe; "
            "use the recipe that made it, or start anew with --fresh"
        )
    return weights


def _put(policy: Policy, weights: dict[str, torch.Tensor]) -> None:
    # The weights beside adapters are those that the recipe loads: a checkpoint does not hold them.
    policy.model.load_state_dict(weights, strict=not has_adapters(policy.model))
