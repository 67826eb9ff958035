"""Attention over a pack (``gppo.sizes.packing``): segments that lie end to end, branches that see their trunk.

No mask over the pack is ever made. Attention is computed in two parts: *own*, in which every segment attends to itself
causally, and *cross*, in which branches attend to the whole of their trunk. With o and l the output and the
log-normaliser of each part, the two are merged exactly:

    l = log(exp l_own + exp l_cross),    o = exp(l_own - l) o_own + exp(l_cross - l) o_cross

and since the softmax's backward needs only o, l and the gradient of o, each part's backward is given the merged ones.
The parts run on torch's flash kernels: on a GPU with one call for all segments, on a CPU with one call for segments of
like length, padded inside it.

transformers finds the function under the name ``PACKED``; the layout reaches it as a keyword of the model's forward.
Without that keyword it is transformers' own "sdpa".
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from gppo.policy.layout import layout_of
from gppo.policy.segments import Layout
from gppo.policy.short import ShortRows, short_attention
from gppo.sizes import pack_responses
from gppo.types import GppoError

#: The name under which transformers knows this attention.
PACKED = "gppo_packed"

#: What some models ask of their attention beyond softmax(q k / scale) v.
_BEYOND = ("sliding_window", "softcap", "s_aux", "position_bias")


class CannotPackError(GppoError):
    """The model asks for an attention that is not computed here; the message is the reason."""


def packed_inputs(layout: Layout | ShortRows) -> dict[str, Any]:
    """The keywords with which a model's forward attends by the layout; to be given beside ids and positions."""
    # A mask with four axes is taken as ready-made, so transformers makes none; it is never looked at.
    unused_mask = torch.empty(1, 1, 0, 0, dtype=torch.bool)
    return {"packing": layout, "attention_mask": unused_mask}


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    packing: Layout | ShortRows | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """The attention function for transformers.

    Args:
        module: the layer.
        query: [1, heads, L, D].
        key: [1, key/value heads, L, D].
        value: of the key's shape.
        attention_mask: of an ordinary forward.
        scaling: of the scores; None is 1 / sqrt(D).
        dropout: must be 0 in a packed forward.
        packing: the pack's layout; None for an ordinary forward.
        kwargs: what the model adds.

    Returns:
        output [1, L, heads, D], and None for the weights.

    Raises:
        CannotPackError: the model wants a window, a cap, sinks, a bias, dropout, or values of another width.
    """
    if packing is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    if asked := [name for name in _BEYOND if kwargs.get(name) is not None]:
        raise CannotPackError(f"its attention uses {asked[0]}")
    if dropout:
        raise CannotPackError("its attention is trained with dropout")
    if query.shape[-1] != value.shape[-1]:
        raise CannotPackError("its values are not as wide as its keys")
    if query.is_cuda and (query.shape[-1] > 256 or query.shape[-1] % 8):
        raise CannotPackError("the width of its heads is not a multiple of 8 up to 256, as the GPU's kernel needs")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if torch.is_autocast_enabled(query.device.type):  # norms and rotations have left queries and keys wider than values
        low = torch.get_autocast_dtype(query.device.type)
        query, key, value = query.to(low), key.to(low), value.to(low)
    q_LHD, k_LhD, v_LhD = (x[0].transpose(0, 1) for x in (query, key, value))
    return attend(q_LHD, k_LhD, v_LhD, packing, scale)[None], None


def attend(q_LHD: Tensor, k_LhD: Tensor, v_LhD: Tensor, layout: Layout | ShortRows, scale: float) -> Tensor:
    """Attention [L, H, D] by the layout, nothing asked of it beyond softmax(scale q k) v."""
    if isinstance(layout, ShortRows):
        return short_attention(q_LHD, k_LhD, v_LhD, layout, scale)
    return _PackedAttention.apply(q_LHD, k_LhD, v_LhD, layout, scale)


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, sdpa_mask)


def why_not_packed(model: Any, config: Any, device: torch.device) -> str | None:
    """None where the model can be given packs, and then its attention is ``PACKED``; else the reason to pad.

    One small pack and its rows one by one tell: the logits must be the same. Whatever mixes tokens outside the
    attention (convolutions, recurrence) or leaves positions aside shows here.

    Args:
        model: a causal language model.
        config: its text part's.
        device: where it computes.
    """
    if config._attn_implementation not in ("sdpa", PACKED):
        return f"the model's attention is set to '{config._attn_implementation}', not to sdpa"
    if not getattr(model, "_supports_attention_backend", False):
        return "the model does not take its attention function from transformers' table"
    if getattr(config, "attention_dropout", 0.0):
        return "its attention is trained with dropout"
    weight = next(model.parameters())
    if device.type not in ("cpu", "cuda"):
        return f"there is no packed attention on {device.type}"
    mixed = torch.is_autocast_enabled(device.type)
    half = mixed or weight.dtype in (torch.float16, torch.bfloat16)
    if device.type == "cuda" and not half:
        return "on a GPU packed attention needs half precision: model.dtype mixed or bfloat16"
    training = model.training
    model.eval()
    model.set_attn_implementation(PACKED)
    reason = None
    try:
        with torch.no_grad():
            if not _packs_like_rows(model, config.vocab_size, device, 0.05 if half else 1e-3):
                reason = "its layers mix tokens of a pack outside the attention"
    except CannotPackError as error:
        reason = str(error)
    finally:
        model.train(training)
    if reason is not None:
        model.set_attn_implementation("sdpa")
    return reason


def _packs_like_rows(model: nn.Module, vocabulary: int, device: torch.device, tolerance: float) -> bool:
    rng = np.random.default_rng(0)
    prompts = [rng.integers(vocabulary, size=5)] * 2 + [rng.integers(vocabulary, size=3)]
    responses = [rng.integers(vocabulary, size=size) for size in (6, 3, 4)]
    pack = pack_responses(prompts, responses)
    packed_LV = model(
        input_ids=torch.from_numpy(pack.ids_L)[None].to(device),
        position_ids=torch.from_numpy(pack.positions_L)[None].to(device),
        use_cache=False,
        **packed_inputs(layout_of(pack, device)),
    ).logits[0]
    rows = []
    for prompt, response in zip(prompts, responses, strict=True):
        ids = torch.from_numpy(np.concatenate([prompt, response[:-1]]))[None].to(device)
        rows.append(model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :])
    expected_NV = torch.cat(rows).double()
    gap_NV = packed_LV[torch.from_numpy(pack.predicts_N).to(device)].double() - expected_NV
    return bool(gap_NV.norm() <= tolerance * expected_NV.norm())


class _PackedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_LHD: Tensor, k_LhD: Tensor, v_LhD: Tensor, layout: Layout, scale: float) -> Tensor:
        out_LHD, lse_LH = layout.own.forward(q_LHD, k_LhD, v_LhD, scale)
        if layout.cross is not None:
            cross_out, cross_lse = layout.cross.forward(q_LHD, k_LhD, v_LhD, scale)
            out_NHD, lse_NH = out_LHD[-len(cross_out) :], lse_LH[-len(cross_out) :]  # branches are the pack's tail
            merged_NH = torch.logaddexp(lse_NH, cross_lse)
            out_NHD.mul_((lse_NH - merged_NH).exp_()[..., None])
            out_NHD.add_(cross_out * (cross_lse - merged_NH).exp_()[..., None])
            lse_NH.copy_(merged_NH)
        ctx.save_for_backward(q_LHD, k_LhD, v_LhD, out_LHD, lse_LH)
        ctx.layout, ctx.scale = layout, scale
        return out_LHD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_LHD: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # read once: activation checkpointing allows no more
        grads = ctx.layout.own.backward(grad_LHD, saved, ctx.scale)
        if ctx.layout.cross is not None:
            more_q, more_k, more_v = ctx.layout.cross.backward(grad_LHD, saved, ctx.scale)
            grads[0][-len(more_q) :] += more_q
            grads[1][: len(more_k)] += more_k
            grads[2][: len(more_v)] += more_v
        return *grads, None, None
