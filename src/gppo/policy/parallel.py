"""A model whose weights, gradients and moments are shared out to ranks by FSDP2.

Each layer is gathered whole while it computes; embedding, last norm and head are gathered around them. Parameters are
``DTensor``s between passes, each rank holding rows of all of them. Gradients are summed over ranks, in float32: every
coefficient is normalised by the tokens of all ranks' rows before.

What is computed in bfloat16 by a mixed policy is decided by autocast, as in one process, and FSDP2's own mixed
precision stays off: it would cast whole layers, norms included, and ranks would compute what one process does not.
"""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, OffloadPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from gppo.config.parallel import ParallelConfig
from gppo.policy.family import join_matrices
from gppo.policy.model import Policy
from gppo.policy.world import World


def shard(model: Any, config: ParallelConfig, world: World, device: torch.device) -> nn.Module:
    """Share a model out to the ranks, in place, layer by layer.

    Args:
        model: of transformers, whole, on the CPU; the same on every rank.
        config: the recipe's ``parallel``.
        world: the ranks.
        device: where this rank computes.

    Returns:
        the same model without weights, for ``without_weights``.
    """
    blank = _emptied(model, device)
    mesh = init_device_mesh(device.type, (world.size,))
    offload = CPUOffloadPolicy() if config.offload and device.type == "cuda" else OffloadPolicy()
    kept: dict[str, Any] = {
        "mesh": mesh,
        "mp_policy": MixedPrecisionPolicy(reduce_dtype=torch.float32),
        "offload_policy": offload,
    }
    layers = set(model._no_split_modules or ())
    for module in model.modules():
        if type(module).__name__ in layers:
            fully_shard(module, reshard_after_forward=config.reshard_after_forward, **kept)
    fully_shard(model, reshard_after_forward=config.reshard_after_forward, **kept)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    return blank


def give_back(policy: Policy) -> None:
    """After passes without a backward: where layers stay gathered until theirs, give back what was gathered.

    Until then the model's parameters are whole ones that no update reaches.
    """
    for module in policy.model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def whole(tensor: Tensor) -> Tensor:
    """A sharded tensor gathered on every rank, where it computes; any other as it is. Collective."""
    if not isinstance(tensor, DTensor):
        return tensor
    placed: Any = tensor.detach().to(tensor.device_mesh.device_type)
    full: Tensor = placed.full_tensor()
    return full


def all_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether every number of every tensor is finite, on whatever rank. One pass over them; collective."""
    mine = [t.to_local() if isinstance(t, DTensor) else t for t in tensors]
    finite = torch.stack(torch._foreach_norm([t for t in mine if t.numel()], torch.inf)).isfinite().all()
    if isinstance(first := tensors[0], DTensor):
        flag = finite.to(first.device_mesh.device_type, torch.int32)
        dist.all_reduce(flag, dist.ReduceOp.MIN, group=first.device_mesh.get_group())
        return bool(flag)
    return bool(finite)


def put(own: Tensor, value: Tensor | None) -> None:
    """Write rank 0's whole tensor into a sharded one of the same shape; others give None. Collective."""
    with torch.no_grad():
        own.copy_(shards_like(own, value))


def shards_like(own: Any, value: Tensor | None) -> Tensor:
    """Rank 0's whole tensor shared out as ``own`` is; others give None. Collective."""
    mesh, device = own.device_mesh, own.device_mesh.device_type
    if value is None:
        value = torch.empty(own.shape, dtype=own.dtype, device=device)
    return distribute_tensor(value.to(device, own.dtype), mesh, own.placements).to(own.device)


def without_weights(policy: Policy) -> Policy:
    """A plain policy of a sharded one's model, which has weights within ``filled`` only."""
    assert policy.blank is not None
    plain = copy.copy(policy)
    plain.model, plain.blank = policy.blank, None
    plain.head = policy.blank.get_output_embeddings()  # type: ignore[operator]
    return plain


@contextmanager
def filled(plain: Policy, policy: Policy) -> Iterator[None]:
    """Within the block, the plain policy has the sharded one's weights of now, whole. Collective at its beginning.

    Of a mixed policy the matrices are kept in the precision of products, the rest is wide, as it is used.
    """
    places: dict[nn.Parameter, list[tuple[nn.Module, str]]] = {}
    for module in plain.model.modules():
        for name, empty in module.named_parameters(recurse=False):
            places.setdefault(empty, []).append((module, name))
    try:
        for (_, where), source in zip(places.items(), policy.model.parameters(), strict=True):
            gathered = whole(source)
            for module, name in where:
                low = policy.mixed and isinstance(module, nn.Linear)
                value = gathered.to(policy.compute_dtype if low else source.dtype)
                setattr(module, name, nn.Parameter(value, requires_grad=False))
        join_matrices(plain)
        yield
    finally:
        for empty, where in places.items():
            for module, name in where:
                setattr(module, name, empty)


def _emptied(model: nn.Module, device: torch.device) -> nn.Module:
    """The model without weights, its buffers on the device; tied parameters stay tied."""
    instead: dict[int, Any] = {id(buffer): buffer.to(device, copy=True) for buffer in model.buffers()}
    for parameter in model.parameters():
        instead[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=False)
    return copy.deepcopy(model, instead)
