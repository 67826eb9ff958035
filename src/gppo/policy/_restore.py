"""A checkpoint back into a policy and its optimizer."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from gppo.policy._manifest import why_damaged
from gppo.policy._snapshot import OPTIMIZER, join, read_plan, read_tensors
from gppo.policy.load import first_line, load_weights
from gppo.policy.lora import ADAPTER_FILE, has_adapters, read_adapters
from gppo.policy.model import Policy
from gppo.policy.optimizer import Optimizer
from gppo.policy.parallel import put, shards_like
from gppo.policy.world import ALONE, World
from gppo.types import UserError


def load_model(path: Path, policy: Policy, world: World = ALONE) -> dict[str, Any]:
    """Put a checkpoint's weights into the policy, without its optimizer, and return the state saved with them.

    Rank 0 reads it, whatever the number of ranks that wrote it, and the others are sent their shards.

    Raises:
        UserError: the checkpoint belongs to another architecture, or is damaged; the model is as it was.
    """

    def read() -> None:
        refuse_damaged(path)
        weights.update(_weights_for(policy, path))

    weights: dict[str, torch.Tensor] = {}
    world.lead(read)
    _put(policy, weights, world)
    return world.lead(lambda: _state(path))


def refuse_damaged(path: Path) -> None:
    """A UserError where a checkpoint is damaged. Reads every byte of it."""
    if reason := why_damaged(path):
        raise UserError(
            f"{path} is damaged ({reason}); remove this checkpoint's folder to continue from the one before, or start "
            "anew with --fresh"
        )


def load_all(path: Path, policy: Policy, optimizer: Optimizer, world: World = ALONE) -> dict[str, Any]:
    """Put weights and optimizer back from a checkpoint that is not damaged, and return the state; as above."""
    weights: dict[str, torch.Tensor] = {}
    world.lead(lambda: weights.update(_weights_for(policy, path)))
    if policy.blank is None:
        with _of_this_run(path):
            plan, moments = read_tensors(path / OPTIMIZER, policy.device)
            optimizer.load_state_dict(join(json.loads(plan), moments))
    else:
        _put_moments(path, optimizer, world)
    _put(policy, weights, world)
    return world.lead(lambda: _state(path))


def _state(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((path / "state.json").read_text())
    return state


@contextmanager
def _of_this_run(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise UserError(
            f"{path / OPTIMIZER} is not of this run ({first_line(error)}); use the recipe that made it, or start anew "
            "with --fresh"
        ) from error


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


def _put(policy: Policy, weights: dict[str, torch.Tensor], world: World) -> None:
    if policy.blank is None:
        # The weights beside adapters are those that the recipe loads: a checkpoint does not hold them.
        policy.model.load_state_dict(weights, strict=not has_adapters(policy.model))
        return
    sharded = dict(policy.model.named_parameters(remove_duplicate=False))
    buffers = {name: own for name, own in policy.trained().items() if name not in sharded}
    for name, parameter in policy.model.named_parameters():  # one with two names once
        put(parameter, weights.get(name))
    shared = world.lead(lambda: {key: weights[key] for key in buffers})
    for name, own in buffers.items():
        own.copy_(shared[name])


def _put_moments(path: Path, optimizer: Optimizer, world: World) -> None:
    """The optimizer's state, whose moments are shared out like the parameters that they are of."""
    parameters = [p for group in optimizer.adamw.param_groups for p in group["params"]]

    def of(name: str) -> tuple[torch.Tensor, str]:
        _adamw, _state, index, key = name.split(".")
        return parameters[int(index)], key

    def plan() -> tuple[str, dict[str, torch.Tensor | None]]:
        """What is no moment, and the names of the moments."""
        with _of_this_run(path):
            small: dict[str, torch.Tensor | None] = {}
            for name in sorted(file.keys()):
                own, key = of(name)
                small[name] = file.get_tensor(name) if key == "step" else None
                if key != "step" and file.get_slice(name).get_shape() != list(own.shape):
                    raise ValueError(f"its {name} has another shape than the parameter")
            return read_plan(file), small

    with ExitStack() as stack:
        file: Any = stack.enter_context(safe_open(path / OPTIMIZER, framework="pt")) if world.leads else None
        text, found = world.lead(plan)
        tensors = {
            name: shards_like(of(name)[0], file and file.get_tensor(name)) if value is None else value
            for name, value in found.items()
        }
    optimizer.load_state_dict(join(json.loads(text), tensors))
