"""Decoder layers of the Llama family in two compiled halves around their attention, where a pack is learned from.

Norms, rotations and gates are many small passes over memory; compiled they melt into a few, forward and backward. Both
halves are functions of tensors, compiled once for all layers and any number of tokens, on sizes that are the same in
every process: what is compiled does not depend on the pack that comes first. Parameters are read inside the layer's
forward, so that whatever gathers them around it does its work.
"""

import logging
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException

from gppo.policy.attention import attend
from gppo.policy.family import Shape, after_attention, before_attention, in_family, layer_of, projections
from gppo.policy.head import is_plain

logger = logging.getLogger(__name__)

#: Tokens that the halves are compiled with; no width of a model is this.
_CANONICAL = 1009
#: Forms that one process may hold: one for each model shape and dtype.
_FORMS = 256

# Lazy: nothing is compiled before the first call.
_BEFORE: Any = torch.compile(before_attention, fullgraph=True)
_AFTER: Any = torch.compile(after_attention, fullgraph=True)


def with_fused_layers(policy: Any) -> str | None:
    """Have a policy's layers compute packs in compiled halves, in place.

    Returns:
        None, or why they are left as they are.
    """
    if policy.unpacked_reason is not None:
        return f"its rows are padded: {policy.unpacked_reason}"
    if policy.blank is not None:
        return "its weights are shared out to several ranks"
    if policy.mixed:
        return "its precision is mixed"
    layers = policy.model.model.layers if in_family(policy) else []
    if not layers or not all(_fits(layer) for layer in layers):
        return "its layers are not those of Qwen3, Qwen2 or Llama, as transformers builds them and without adapters"
    try:
        _compile(layers[0])
    except TorchDynamoException as error:
        reason = str(error).strip().splitlines()[0]
        return f"compiling failed ({reason}); install a C++ compiler, or set CXX to the one there is"
    for layer in layers:
        layer.forward = MethodType(_forward, layer)
    return None


def _fits(layer: Any) -> bool:
    """Whether its parameters are all that there is to it now: no adapter, no shard, no hook."""
    matrices = projections(layer)
    inner = (layer.input_layernorm, layer.self_attn, layer.post_attention_layernorm, layer.mlp, *matrices)
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in inner)
    return not hooked and all(is_plain(p) and type(p.weight) is nn.Parameter for p in matrices)


def _shape(layer: Any) -> Shape:
    attention = layer.self_attn
    epsilon = layer.input_layernorm.variance_epsilon
    return Shape(attention.config.num_key_value_heads, attention.head_dim, epsilon, attention.scaling)


def _forward(layer: Any, hidden_states: Tensor, *args: Any, packing: Any = None, **options: Any) -> Tensor:
    """The layer's forward: compiled halves for a pack that is learned from, transformers' own for everything else."""
    x_LH = hidden_states[0]
    if packing is None or not torch.is_grad_enabled() or len(x_LH) < 2 or not _fits(layer):
        if packing is not None:
            options["packing"] = packing
        return type(layer).forward(layer, hidden_states, *args, **options)
    shape, parameters = _shape(layer), layer_of(layer, x_LH.dtype)
    cos_L1D, sin_L1D = (part[0][:, None] for part in options["position_embeddings"])
    _any_length(x_LH, cos_L1D, sin_L1D)
    q_LHD, k_LhD, v_LhD = _BEFORE(shape, parameters, x_LH, cos_L1D, sin_L1D)
    mixed_LH = attend(q_LHD, k_LhD, v_LhD, packing, shape.scaling).flatten(1)
    _any_length(mixed_LH)
    return _AFTER(shape, parameters, x_LH, mixed_LH)[None]


def _any_length(*tensors: Tensor) -> None:
    for tensor in tensors:
        torch._dynamo.mark_dynamic(tensor, 0)


def _compile(layer: Any) -> None:
    """Make the compiled forms on canonical sizes."""
    shape, weight = _shape(layer), layer.mlp.down_proj.weight
    parameters = layer_of(layer, weight.dtype)
    sizes = (len(weight), layer.self_attn.o_proj.in_features)
    x_LH, mixed_LH = (weight.new_zeros(_CANONICAL, size, requires_grad=True) for size in sizes)
    cos_L1D, sin_L1D = (weight.new_zeros(_CANONICAL, 1, shape.head_dim) for _ in range(2))
    _any_length(x_LH, mixed_LH, cos_L1D, sin_L1D)
    with torch._dynamo.config.patch(recompile_limit=_FORMS, accumulated_recompile_limit=_FORMS), torch.enable_grad():
        outputs = [*_BEFORE(shape, parameters, x_LH, cos_L1D, sin_L1D), _AFTER(shape, parameters, x_LH, mixed_LH)]
    torch.autograd.grad([out.sum() for out in outputs], [x_LH, mixed_LH])
