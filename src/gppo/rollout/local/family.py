"""Qwen3, Qwen2 and Llama: one token for every row in plain torch, on the training model's own weights.

Of a mixed policy the matrices are copied once a call into the precision that products are made in; norms, embedding
and the residual stream stay wide, as they do in its forward.

``advance`` is a function of tensors alone, so that one compiled form serves every model of a shape, and it never makes
its caller wait for the device.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own name)

from gppo.policy import Policy
from gppo.policy.head import is_plain
from gppo.policy.lora import LowRank, linear, low_rank
from gppo.rollout.local.draw import tempered_draw

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
    """The parameters of one layer."""

    norm_in: Tensor
    q: Tensor | LowRank
    q_bias: Tensor | None
    k: Tensor | LowRank
    k_bias: Tensor | None
    v: Tensor | LowRank
    v_bias: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None
    o: Tensor | LowRank
    o_bias: Tensor | None
    norm_mid: Tensor
    gate: Tensor | LowRank
    up: Tensor | LowRank
    down: Tensor | LowRank


class Weights(NamedTuple):
    """The parameters of a model; those that are shared with it show an update at once."""

    embedding: Tensor
    layers: list[Layer]
    norm: Tensor
    head: Tensor
    head_bias: Tensor | None


def shape_of(policy: Policy) -> Shape:
    """The shape of a model of the family."""
    config: Any = policy.config
    attention = policy.model.model.layers[0].self_attn  # type: ignore[union-attr, index]
    return Shape(config.num_key_value_heads, attention.head_dim, config.rms_norm_eps, attention.scaling)


def weights_of(policy: Policy) -> Weights:
    """The parameters of a model of the family; of a mixed policy its matrices are copied, else nothing large is."""
    base: Any = policy.model.model
    layers = []

    def low(parameter: Tensor | None) -> Any:
        return None if parameter is None else parameter.to(policy.compute_dtype)

    def matrix(projection: Any) -> Any:
        return low_rank(projection) or low(projection.weight)

    for layer in base.layers:
        attention, mlp = layer.self_attn, layer.mlp
        layers.append(
            Layer(
                norm_in=layer.input_layernorm.weight,
                q=matrix(attention.q_proj),
                q_bias=low(attention.q_proj.bias),
                k=matrix(attention.k_proj),
                k_bias=low(attention.k_proj.bias),
                v=matrix(attention.v_proj),
                v_bias=low(attention.v_proj.bias),
                q_norm=attention.q_norm.weight if hasattr(attention, "q_norm") else None,
                k_norm=attention.k_norm.weight if hasattr(attention, "k_norm") else None,
                o=matrix(attention.o_proj),
                o_bias=low(attention.o_proj.bias),
                norm_mid=layer.post_attention_layernorm.weight,
                gate=matrix(mlp.gate_proj),
                up=matrix(mlp.up_proj),
                down=matrix(mlp.down_proj),
            )
        )
    return Weights(base.embed_tokens.weight, layers, base.norm.weight, low(policy.head.weight), low(policy.head.bias))


class Cache(NamedTuple):
    """Keys and values of S slots, and what every column needs.

    Args:
        keys: for each layer [S, Hkv, C, D]; column c holds position c of the slot's row.
        values: as keys.
        cos_CD: rotations of the positions.
        sin_CD: as cos_CD.
    """

    keys: list[Tensor]
    values: list[Tensor]
    cos_CD: Tensor
    sin_CD: Tensor


def logits_after(
    shape: Shape,
    weights: Weights,
    cache: Cache,
    columns_L: Tensor,
    tokens_B: Tensor,
    position_B: Tensor,
    *,
    as_sums: bool,
) -> Tensor:
    """Write the B first slots' next token into the cache; logits [B, V] of the one after it.

    Args:
        shape: of the model.
        weights: of the model.
        cache: the first B slots are written to and read.
        columns_L: 0 .. L - 1, the columns that are read: more than every position.
        tokens_B: the tokens.
        position_B: their positions.
        as_sums: write attention as products and sums, which a compiler melts into two passes over the cache; else as
            matrix products, which are faster where nothing compiles.
    """
    rows, length = len(tokens_B), len(columns_L)
    row_B = torch.arange(rows, device=tokens_B.device)
    cos_B1D, sin_B1D = cache.cos_CD[position_B][:, None], cache.sin_CD[position_B][:, None]
    hidden_BL = columns_L[None] > position_B[:, None]

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x.to(weight.dtype), weight.shape, weight, shape.epsilon)

    def rotate(x_BhD: Tensor) -> Tensor:
        first, second = x_BhD.chunk(2, dim=-1)
        return x_BhD * cos_B1D + torch.cat((-second, first), dim=-1) * sin_B1D

    x_BH = F.embedding(tokens_B, weights.embedding)
    for layer, keys, values in zip(weights.layers, cache.keys, cache.values, strict=True):
        h_BH = norm(x_BH, layer.norm_in)
        q_BhD = linear(h_BH, layer.q, layer.q_bias).view(rows, -1, shape.head_dim)
        k_BkD = linear(h_BH, layer.k, layer.k_bias).view(rows, shape.kv_heads, shape.head_dim)
        v_BkD = linear(h_BH, layer.v, layer.v_bias).view(rows, shape.kv_heads, shape.head_dim)
        if layer.q_norm is not None and layer.k_norm is not None:
            q_BhD, k_BkD = norm(q_BhD, layer.q_norm), norm(k_BkD, layer.k_norm)
        keys[row_B, :, position_B] = rotate(k_BkD).to(keys.dtype)
        values[row_B, :, position_B] = v_BkD
        q_BkgD = rotate(q_BhD).to(keys.dtype).view(rows, shape.kv_heads, -1, shape.head_dim)
        mixed_BkgD = _attend(
            q_BkgD, keys[:rows, :, :length], values[:rows, :, :length], hidden_BL, shape.scaling, as_sums
        )
        x_BH = x_BH + linear(mixed_BkgD.reshape(rows, -1), layer.o, layer.o_bias)
        h_BH = norm(x_BH, layer.norm_mid)
        gated = F.silu(linear(h_BH, layer.gate)) * linear(h_BH, layer.up)
        x_BH = x_BH + linear(gated, layer.down)
    return linear(norm(x_BH, weights.norm), weights.head, weights.head_bias)


def _attend(
    q_BkgD: Tensor, keys_BkLD: Tensor, values_BkLD: Tensor, hidden_BL: Tensor, scaling: float, as_sums: bool
) -> Tensor:
    """Each row's query over its own columns; [B, k, g, D]."""
    if as_sums:
        scores_BkgL = (q_BkgD[:, :, :, None].float() * keys_BkLD[:, :, None].float()).sum(-1) * scaling
    else:
        scores_BkgL = (q_BkgD @ keys_BkLD.transpose(-1, -2) * scaling).float()
    weights_BkgL = scores_BkgL.masked_fill(hidden_BL[:, None, None], -torch.inf).softmax(-1)
    if as_sums:
        return (weights_BkgL[..., None] * values_BkLD[:, :, None]).sum(3).to(q_BkgD.dtype)
    return weights_BkgL.to(q_BkgD.dtype) @ values_BkLD


def advance(
    shape: Shape,
    weights: Weights,
    cache: Cache,
    columns_L: Tensor,
    tokens_B: Tensor,
    position_B: Tensor,
    uniforms_B: Tensor,
    temperature: Tensor,
    *,
    as_sums: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Append a token to every row and draw the next: what ``logits_after`` and ``tempered_draw`` do, in one.

    Returns:
        tokens_B, their logprobs_B, and the positions at which these tokens will be written.
    """
    logits_BV = logits_after(shape, weights, cache, columns_L, tokens_B, position_B, as_sums=as_sums)
    return *tempered_draw(logits_BV, uniforms_B, temperature), position_B + 1


def in_family(policy: Policy) -> bool:
    """Whether our own step knows the model: its layers as transformers builds them, full attention, whole logits."""
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
        and all(_whole(projection) for layer in base.layers for projection in _projections(layer))
    )


def _projections(layer: Any) -> tuple[nn.Module, ...]:
    attention, mlp = layer.self_attn, layer.mlp
    of_attention = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    return (*of_attention, mlp.gate_proj, mlp.up_proj, mlp.down_proj)


def _whole(projection: nn.Module) -> bool:
    """Whether a weight, an adapter and a bias are all there is to it: not quantised, not sharded over processes."""
    plain = getattr(projection, "base_layer", projection) if low_rank(projection) else projection
    return is_plain(plain) and type(plain.weight) is nn.Parameter
