"""A copy of weights and optimizer in main memory, from which they can be written while training goes on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from gppo.policy.parallel import whole

_NOTHING = torch.empty(0)
OPTIMIZER = "optimizer.safetensors"
_PLAN = "plan"  # the key of the metadata that holds everything that is no tensor


class Buffers:
    """Memory that is used again by every snapshot: its first touch is what costs."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def copy(self, tensors: Mapping[str, Tensor], *, keep: bool = True) -> dict[str, Tensor]:
        """The tensors' values now, in main memory. Tensors that share their memory (tied weights) share it there too.

        What an earlier call returned is overwritten. Sharded tensors are gathered one after another.

        Args:
            tensors: by name.
            keep: False where this rank only takes part in the gathering; {} is then returned.
        """
        copies: dict[str, Tensor] = {}
        seen: dict[Any, Tensor] = {}
        from_gpu = False
        for name, tensor in tensors.items():
            place = _place(tensor)
            if tensor.numel() == 0 or place not in seen:
                value = whole(tensor)
                from_gpu |= value.is_cuda
                seen[place] = self._fill(name, value.detach()) if keep else _NOTHING
            copies[name] = seen[place]
        if not keep:
            return {}
        if from_gpu:
            torch.cuda.synchronize()
        return copies

    def _fill(self, name: str, tensor: Tensor) -> Tensor:
        kept = self._kept.get(name)
        if kept is None or kept.shape != tensor.shape or kept.dtype != tensor.dtype:
            kept = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
            self._kept[name] = kept
        return kept.copy_(tensor, non_blocking=True)


def _place(tensor: Tensor) -> Any:
    """Where a tensor's numbers are; shards of one parameter are the parameter itself."""
    if isinstance(tensor, DTensor):
        return id(tensor)
    return (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)


def split(value: Any, place: str = "") -> tuple[Any, dict[str, Tensor]]:
    """Nested dicts, lists and plain values with tensors in them -> what JSON can hold, and the tensors by name.

    A dict becomes ``{"dict": [[key, value], ...]}``, because JSON knows no keys but text.
    """
    if isinstance(value, Tensor):
        return {"tensor": place}, {place: value}
    if isinstance(value, dict):
        pairs = [(key, split(item, f"{place}.{key}" if place else str(key))) for key, item in value.items()]
        tensors = {name: tensor for _, (_, found) in pairs for name, tensor in found.items()}
        return {"dict": [[key, plan] for key, (plan, _) in pairs]}, tensors
    if isinstance(value, list | tuple):
        parts = [split(item, f"{place}.{i}") for i, item in enumerate(value)]
        tensors = {name: tensor for _, found in parts for name, tensor in found.items()}
        return {type(value).__name__: [plan for plan, _ in parts]}, tensors
    return value, {}


def join(plan: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What ``split`` took apart."""
    if not isinstance(plan, dict):
        return plan
    [(kind, content)] = plan.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {key: join(item, tensors) for key, item in content}
    return {"list": list, "tuple": tuple}[kind](join(item, tensors) for item in content)


def write_tensors(path: Path, plan: str, tensors: Mapping[str, Tensor]) -> None:
    """One safetensors file with the plan (JSON) beside the tensors: nothing in it can run code when it is read."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={_PLAN: plan})


def read_tensors(path: Path, device: torch.device) -> tuple[str, dict[str, Tensor]]:
    """The plan and the tensors of such a file."""
    with safe_open(path, framework="pt", device=str(device)) as file:
        return read_plan(file), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def read_plan(file: Any) -> str:
    """The plan of such a file that is open."""
    return str(file.metadata()[_PLAN])
