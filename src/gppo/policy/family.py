"""Qwen3, Qwen2 and Llama in plain torch: what a layer computes before its attention and after it.

Functions of tensors alone, so that one compiled form serves every layer and every model of a shape. The sampler's step
is made of them, and where it is compiled the training forward too (``gppo.policy.fused``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own name)

from gppo.policy.head import is_plain
from gppo.policy.lora import LowRank, linear, low_rank
from gppo.policy.norm import RMSNorm
from gppo.policy.together import lay_together, together

_FAMILY = ("qwen3", "qwen2", "llama")
#: Rotations that depend on the position alone, not on the longest position asked for.
_FIXED_ROTATIONS = ("default", "linear", "llama3", "yarn")


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a model is known before it runs.

    Args:
        kv_heads: heads of keys and values.
        head_dim: their width.
        epsilon: of the norms.
        scaling: of the scores.
    """

    kv_heads: int
    head_dim: int
    epsilon: float
    scaling: float


class Layer(NamedTuple):
    """The parameters of one layer.

    Args:
        norm_in: of the norm before the attention.
        qkv: the matrices of queries, keys and values; or a single one, which is those one under another.
        qkv_bias: their biases, as many.
        q_norm: of the norm of a head's query, or None.
        k_norm: as q_norm.
        o: the matrix behind the attention.
        o_bias: its bias, or None.
        norm_mid: of the norm behind the attention.
        gate_up: as qkv, of the gate and of what it lets through.
        down: the last matrix.
    """

    norm_in: Tensor
    qkv: tuple[Tensor | LowRank, ...]
    qkv_bias: tuple[Tensor | None, ...]
    q_norm: Tensor | None
    k_norm: Tensor | None
    o: Tensor | LowRank
    o_bias: Tensor | None
    norm_mid: Tensor
    gate_up: tuple[Tensor | LowRank, ...]
    down: Tensor | LowRank


def shape_of(policy: Any) -> Shape:
    """The shape of a policy's model, which is of the family."""
    config = policy.config
    attention = policy.model.model.layers[0].self_attn
    return Shape(config.num_key_value_heads, attention.head_dim, config.rms_norm_eps, attention.scaling)


def layer_of(layer: Any, dtype: torch.dtype, *, joined: bool = False) -> Layer:
    """The parameters of a layer, as they are; matrices and biases of another precision are copied.

    Args:
        layer: of the model.
        dtype: of the products.
        joined: take matrices of one input as a single one where they lie together; it has no gradient.
    """
    attention, mlp = layer.self_attn, layer.mlp

    def low(parameter: Tensor | None) -> Any:
        return None if parameter is None else parameter.to(dtype)

    def matrix(projection: Any) -> Any:
        return low_rank(projection) or low(projection.weight)

    def all_of(projections: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        one = _as_one(projections) if joined else None
        if one is not None:
            return (low(one[0]),), (low(one[1]),)
        return tuple(map(matrix, projections)), tuple(low(projection.bias) for projection in projections)

    (qkv, qkv_bias), (gate_up, _) = map(all_of, _of_one_input(layer))
    return Layer(
        norm_in=layer.input_layernorm.weight,
        qkv=qkv,
        qkv_bias=qkv_bias,
        q_norm=attention.q_norm.weight if hasattr(attention, "q_norm") else None,
        k_norm=attention.k_norm.weight if hasattr(attention, "k_norm") else None,
        o=matrix(attention.o_proj),
        o_bias=low(attention.o_proj.bias),
        norm_mid=layer.post_attention_layernorm.weight,
        gate_up=gate_up,
        down=matrix(mlp.down_proj),
    )


def _of_one_input(layer: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The linear layers that multiply one input: those before the attention, and gate and what it lets through."""
    attention, mlp = layer.self_attn, layer.mlp
    return (attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)


def _as_one(projections: Sequence[Any]) -> tuple[Tensor, Tensor | None] | None:
    """Matrix and bias of linear layers whose parameters lie together; None where they do not."""
    if any(low_rank(projection) for projection in projections):
        return None
    matrix = together([projection.weight for projection in projections])
    if projections[0].bias is None:
        return None if matrix is None else (matrix, None)
    bias = together([projection.bias for projection in projections])
    return None if matrix is None or bias is None else (matrix, bias)


def join_matrices(policy: Any) -> None:
    """Lay the matrices of one input together, in place, where a policy's model is of the family.

    Not for a model of which something else knows where its numbers lie.
    """
    if not in_family(policy):
        return
    for layer in policy.model.model.layers:
        for projections in _of_one_input(layer):
            if not any(low_rank(projection) for projection in projections):
                lay_together([projection.weight for projection in projections])
                if projections[0].bias is not None:
                    lay_together([projection.bias for projection in projections])


def rms_norm(x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    """In the weight's precision, which a mixed policy's residual stream has too."""
    x = x.to(weight.dtype)
    if torch.is_grad_enabled():
        return RMSNorm.apply(x, weight, epsilon)
    return F.rms_norm(x, weight.shape, weight, epsilon)


def before_attention(
    shape: Shape, layer: Layer, x_NH: Tensor, cos_N1D: Tensor, sin_N1D: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Queries [N, heads, D], keys and values [N, key/value heads, D] of N tokens; the first two rotated."""
    tokens = len(x_NH)

    def rotate(x_NhD: Tensor) -> Tensor:
        first, second = x_NhD.chunk(2, dim=-1)
        return x_NhD * cos_N1D + torch.cat((-second, first), dim=-1) * sin_N1D

    h_NH = rms_norm(x_NH, layer.norm_in, shape.epsilon)
    products = [linear(h_NH, matrix, bias) for matrix, bias in zip(layer.qkv, layer.qkv_bias, strict=True)]
    if len(products) == 1:
        narrow = shape.kv_heads * shape.head_dim
        products = products[0].split([products[0].shape[1] - 2 * narrow, narrow, narrow], -1)
    q_NhD, k_NkD, v_NkD = (product.view(tokens, -1, shape.head_dim) for product in products)
    if layer.q_norm is not None and layer.k_norm is not None:
        q_NhD, k_NkD = rms_norm(q_NhD, layer.q_norm, shape.epsilon), rms_norm(k_NkD, layer.k_norm, shape.epsilon)
    return rotate(q_NhD), rotate(k_NkD), v_NkD


def after_attention(shape: Shape, layer: Layer, x_NH: Tensor, mixed_NH: Tensor) -> Tensor:
    """The residual stream after the layer, of the one before it and what the attention gives, heads side by side."""
    x_NH = x_NH + linear(mixed_NH, layer.o, layer.o_bias)
    h_NH = rms_norm(x_NH, layer.norm_mid, shape.epsilon)
    products = [linear(h_NH, matrix) for matrix in layer.gate_up]
    gate_NI, up_NI = products if len(products) == 2 else products[0].chunk(2, -1)
    return x_NH + linear(F.silu(gate_NI) * up_NI, layer.down)


def in_family(policy: Any) -> bool:
    """Whether these functions know a policy's model: its layers as they are built, full attention, whole logits."""
    config: Any = policy.config
    base: Any = getattr(policy.model, "model", None)
    return (
        config.model_type in _FAMILY
        and policy.unfused_reason is None
        and getattr(getattr(base, "rotary_emb", None), "rope_type", None) in _FIXED_ROTATIONS
        and getattr(config, "hidden_act", "silu") == "silu"
        and not getattr(config, "mlp_bias", False)
        and all(kind == "full_attention" for kind in getattr(config, "layer_types", None) or [])
        and type(base.embed_tokens).forward is nn.Embedding.forward
        and all(_whole(projection) for layer in base.layers for projection in projections(layer))
    )


def projections(layer: Any) -> tuple[Any, ...]:
    """The matrices of a layer, with whatever wraps them."""
    attention, mlp = layer.self_attn, layer.mlp
    of_attention = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    return (*of_attention, mlp.gate_proj, mlp.up_proj, mlp.down_proj)


def _whole(projection: nn.Module) -> bool:
    """Whether a weight, an adapter and a bias are all there is to it: not quantised, not sharded over processes."""
    plain = getattr(projection, "base_layer", projection) if low_rank(projection) else projection
    return is_plain(plain) and type(plain.weight) is nn.Parameter
