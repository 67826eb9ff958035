"""Qwen3, Qwen2 and Llama: prompts, and one token for every row, in plain torch on the training model's own weights.

Of a mixed policy the matrices are copied once a call into the precision that products are made in; norms, embedding
and the residual stream stay wide, as they do in its forward.

``advance`` is a function of tensors alone, so that one compiled form serves every model of a shape, and it never makes
its caller wait for the device.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own name)

from gppo.policy import Policy
from gppo.policy.family import Layer, Shape, after_attention, before_attention, layer_of, rms_norm
from gppo.policy.lora import linear
from gppo.rollout.local.draw import tempered_draw


class Weights(NamedTuple):
    """The parameters of a model; those that are shared with it show an update at once."""

    embedding: Tensor
    layers: list[Layer]
    norm: Tensor
    head: Tensor
    head_bias: Tensor | None


def weights_of(policy: Policy) -> Weights:
    """The parameters of a model of the family; of a mixed policy its matrices are copied, else nothing large is."""
    base: Any = policy.model.model
    layers = [layer_of(layer, policy.compute_dtype, joined=True) for layer in base.layers]
    bias = policy.head.bias
    return Weights(
        base.embed_tokens.weight,
        layers,
        base.norm.weight,
        policy.head.weight.to(policy.compute_dtype),
        None if bias is None else bias.to(policy.compute_dtype),
    )


class Cache(NamedTuple):
    """Keys and values of S slots, and what every column needs.

    Args:
        keys: for each layer [S, Hkv, C, D]; column c holds position c of the slot's row.
        values: as keys.
        cos_CD: rotations of the positions.
        sin_CD: as cos_CD.
        queries: [S, H, D], room for those of one layer.
    """

    keys: list[Tensor]
    values: list[Tensor]
    cos_CD: Tensor
    sin_CD: Tensor
    queries: Tensor


def through_prompts(
    shape: Shape, weights: Weights, ids_PS: Tensor, last_P: Tensor, cos_SD: Tensor, sin_SD: Tensor
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Prompts from their first token on; what a shorter one is padded with behind its end does it nothing.

    Args:
        shape: of the model.
        weights: of the model.
        ids_PS: the prompts' tokens.
        last_P: the position of each one's last.
        cos_SD: rotations of positions 0 .. S - 1.
        sin_SD: as cos_SD.

    Returns:
        keys and values, for each layer [P, Hkv, S, D], and logits_PV of the token after each prompt.
    """
    prompts, length = ids_PS.shape
    end_P = torch.arange(prompts, device=last_P.device) * length + last_P
    cos_N1D, sin_N1D = (x.repeat(prompts, 1)[:, None] for x in (cos_SD, sin_SD))
    x_NH = F.embedding(ids_PS.flatten(), weights.embedding)
    keys, values = [], []
    for layer in weights.layers:
        heads = before_attention(shape, layer, x_NH, cos_N1D, sin_N1D)
        q_PhSD, k_PkSD, v_PkSD = (x.unflatten(0, (prompts, length)).transpose(1, 2).to(heads[2].dtype) for x in heads)
        mixed_PhSD = F.scaled_dot_product_attention(
            q_PhSD, k_PkSD, v_PkSD, is_causal=True, scale=shape.scaling, enable_gqa=True
        )
        keys.append(k_PkSD)
        values.append(v_PkSD)
        mixed_NH = mixed_PhSD.transpose(1, 2).reshape(len(x_NH), -1)
        if layer is weights.layers[-1]:
            x_NH, mixed_NH = x_NH[end_P], mixed_NH[end_P]  # of the others nothing is asked any more
        x_NH = after_attention(shape, layer, x_NH, mixed_NH)
    return keys, values, _logits(shape, weights, x_NH)


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
    _check_sizes(cache, tokens_B, position_B)
    row_B = torch.arange(rows, device=tokens_B.device)
    cos_B1D, sin_B1D = cache.cos_CD[position_B][:, None], cache.sin_CD[position_B][:, None]
    # 0 or -inf. By a logarithm, since inductor keeps what holds one, on a CPU, and makes all else anew in each layer.
    bias_BL = (columns_L[None] <= position_B[:, None]).float().log()

    x_BH = F.embedding(tokens_B, weights.embedding)
    for layer, keys, values in zip(weights.layers, cache.keys, cache.values, strict=True):
        q_BhD, k_BkD, v_BkD = before_attention(shape, layer, x_BH, cos_B1D, sin_B1D)
        keys[row_B, :, position_B] = k_BkD.to(keys.dtype)
        values[row_B, :, position_B] = v_BkD
        q_BhD = q_BhD.to(keys.dtype)
        if as_sums:
            # Through memory: a compiler would melt norm and rotation into the sums, and make them anew for each column.
            cache.queries[row_B] = q_BhD
            q_BhD = cache.queries[:rows]
        q_BkgD = q_BhD.view(rows, shape.kv_heads, -1, shape.head_dim)
        mixed_BkgD = _attend(
            q_BkgD, keys[:rows, :, :length], values[:rows, :, :length], bias_BL, shape.scaling, as_sums
        )
        x_BH = after_attention(shape, layer, x_BH, mixed_BkgD.reshape(rows, -1))
    return _logits(shape, weights, x_BH)


def _logits(shape: Shape, weights: Weights, x_BH: Tensor) -> Tensor:
    return linear(rms_norm(x_BH, weights.norm, shape.epsilon), weights.head, weights.head_bias)


def _check_sizes(cache: Cache, tokens_B: Tensor, position_B: Tensor) -> None:
    """Say which sizes are one and the same: a compiled step would else be handed each anew, for every layer."""
    slots, _, columns, _ = cache.keys[0].shape
    for tensor in (*cache.keys, *cache.values):
        torch._check(tensor.shape[0] == slots and tensor.shape[2] == columns)
    torch._check(len(cache.cos_CD) == len(cache.sin_CD) == columns)
    torch._check(len(cache.queries) == slots)
    torch._check(len(position_B) == len(tokens_B))


def _attend(
    q_BkgD: Tensor, keys_BkLD: Tensor, values_BkLD: Tensor, bias_BL: Tensor, scaling: float, as_sums: bool
) -> Tensor:
    """Each row's query over its own columns, the others' bias being -inf; [B, k, g, D]."""
    bias_B11L = bias_BL[:, None, None]
    if not as_sums:
        scores_BkgL = (q_BkgD @ keys_BkLD.transpose(-1, -2) * scaling).float() + bias_B11L
        return scores_BkgL.softmax(-1).to(q_BkgD.dtype) @ values_BkLD
    scores_BkgL = (q_BkgD[:, :, :, None].float() * keys_BkLD[:, :, None].float()).sum(-1) * scaling + bias_B11L
    # A softmax whose division comes last: once for each output, not once for each column too.
    exps_BkgL = (scores_BkgL - scores_BkgL.amax(-1, keepdim=True)).exp()
    mixed_BkgD = (exps_BkgL[..., None] * values_BkLD[:, :, None]).sum(3) / exps_BkgL.sum(-1, keepdim=True)
    return mixed_BkgD.to(q_BkgD.dtype)


def advance(
    shape: Shape,
    weights: Weights,
    cache: Cache,
    columns_L: Tensor,
    tokens_B: Tensor,
    position_B: Tensor,
    uniforms_B: Tensor,
    *,
    temperature: Tensor,
    as_sums: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Append a token to every row and draw the next: what ``logits_after`` and ``tempered_draw`` do, in one.

    Returns:
        tokens_B, their logprobs_B, and the positions at which these tokens will be written.
    """
    logits_BV = logits_after(shape, weights, cache, columns_L, tokens_B, position_B, as_sums=as_sums)
    return *tempered_draw(logits_BV, uniforms_B, temperature), position_B + 1
