"""One decoding step for all rows: our own for the Llama family, transformers' forward for every other model."""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the field's own name)
from transformers import DynamicCache

from gppo.policy import Policy
from gppo.policy.head import is_plain
from gppo.rollout.local.prefill import Prefilled

_FAMILY = ("qwen3", "qwen2", "llama")
#: Rotations that depend on the position alone, not on the longest position asked for.
_FIXED_ROTATIONS = ("default", "linear", "llama3", "yarn")


class Decoder(Protocol):
    """Keeps the rows' keys and values."""

    def step(self, tokens_B: Tensor) -> Tensor:
        """Append one token a row; logits [B, V] of the next."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        ...


class FamilyDecoder:
    """Qwen3, Qwen2 and Llama in plain torch over a growing static cache, with the model's own weights.

    Args:
        policy: the model.
        start: the prompts' caches.
        room: response tokens to make room for at first; the cache doubles when it is full.
    """

    def __init__(self, policy: Policy, start: Prefilled, room: int = 128) -> None:
        self.base: Any = policy.model.model
        self.head: Any = policy.head
        config = policy.config
        self.heads = config.num_attention_heads
        self.kv_heads = config.num_key_value_heads
        self.head_dim = start.keys[0].shape[-1]
        self.epsilon = config.rms_norm_eps
        self.used = start.keys[0].shape[2]
        self.pad_B = start.pad_B
        self.keys = [F.pad(k, (0, 0, 0, room)) for k in start.keys]
        self.values = [F.pad(v, (0, 0, 0, room)) for v in start.values]
        self._grow_tables()

    def _grow_tables(self) -> None:
        """Rotations of all positions, and which columns of each row hold nothing."""
        columns = torch.arange(self.keys[0].shape[2], device=self.pad_B.device)
        cos_1LD, sin_1LD = self.base.rotary_emb(self.keys[0], columns[None])
        self.cos_LD, self.sin_LD = cos_1LD[0], sin_1LD[0]
        empty_BL = columns[None] < self.pad_B[:, None]
        self.bias_B11L = torch.zeros_like(empty_BL, dtype=self.keys[0].dtype).masked_fill_(empty_BL, -torch.inf)[
            :, None, None
        ]

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, self.epsilon)

    def _rotate(self, x_BhD: Tensor, cos_B1D: Tensor, sin_B1D: Tensor) -> Tensor:
        first, second = x_BhD.chunk(2, dim=-1)
        return x_BhD * cos_B1D + torch.cat((-second, first), dim=-1) * sin_B1D

    def step(self, tokens_B: Tensor) -> Tensor:
        """Append one token a row; logits [B, V] of the next."""
        if self.used == self.keys[0].shape[2]:
            self.keys = [F.pad(k, (0, 0, 0, self.used)) for k in self.keys]
            self.values = [F.pad(v, (0, 0, 0, self.used)) for v in self.values]
            self._grow_tables()
        rows, end = len(tokens_B), self.used + 1
        position_B = self.used - self.pad_B
        cos_B1D, sin_B1D = self.cos_LD[position_B][:, None], self.sin_LD[position_B][:, None]
        bias_B11L = self.bias_B11L[..., :end]
        x_BH = F.embedding(tokens_B, self.base.embed_tokens.weight)
        for layer, keys, values in zip(self.base.layers, self.keys, self.values, strict=True):
            attention, mlp = layer.self_attn, layer.mlp
            h_BH = self._norm(x_BH, layer.input_layernorm.weight)
            q_BhD = F.linear(h_BH, attention.q_proj.weight, attention.q_proj.bias).view(rows, self.heads, self.head_dim)
            k_BhD = F.linear(h_BH, attention.k_proj.weight, attention.k_proj.bias).view(
                rows, self.kv_heads, self.head_dim
            )
            v_BhD = F.linear(h_BH, attention.v_proj.weight, attention.v_proj.bias).view(
                rows, self.kv_heads, self.head_dim
            )
            if hasattr(attention, "q_norm"):
                q_BhD = self._norm(q_BhD, attention.q_norm.weight)
                k_BhD = self._norm(k_BhD, attention.k_norm.weight)
            keys[:, :, self.used] = self._rotate(k_BhD, cos_B1D, sin_B1D)
            values[:, :, self.used] = v_BhD
            q_BkgD = self._rotate(q_BhD, cos_B1D, sin_B1D).view(rows, self.kv_heads, -1, self.head_dim)
            scores = q_BkgD @ keys[:, :, :end].transpose(-1, -2) * attention.scaling + bias_B11L
            weights = scores.float().softmax(-1).to(scores.dtype)
            mixed_BH = (weights @ values[:, :, :end]).reshape(rows, -1)
            x_BH = x_BH + F.linear(mixed_BH, attention.o_proj.weight, attention.o_proj.bias)
            h_BH = self._norm(x_BH, layer.post_attention_layernorm.weight)
            gated = F.silu(F.linear(h_BH, mlp.gate_proj.weight)) * F.linear(h_BH, mlp.up_proj.weight)
            x_BH = x_BH + F.linear(gated, mlp.down_proj.weight)
        self.used = end
        x_BH = self._norm(x_BH, self.base.norm.weight)
        return F.linear(x_BH, self.head.weight, self.head.bias)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self.pad_B = self.pad_B[rows]
        self.keys = [k[rows] for k in self.keys]
        self.values = [v[rows] for v in self.values]
        self.bias_B11L = self.bias_B11L[rows]


class TransformersDecoder:
    """Any causal LM through transformers' own forward and dynamic cache."""

    def __init__(self, policy: Policy, start: Prefilled) -> None:
        self.model = policy.model
        self.last_position = policy.max_context - 1
        self.pad_B = start.pad_B
        self.used = start.keys[0].shape[2]
        self.cache = DynamicCache()
        for layer, (keys, values) in enumerate(zip(start.keys, start.values, strict=True)):
            self.cache.update(keys, values, layer)

    def step(self, tokens_B: Tensor) -> Tensor:
        """Append one token a row; logits [B, V] of the next."""
        columns = torch.arange(self.used + 1, device=tokens_B.device)
        out = self.model(
            input_ids=tokens_B[:, None],
            attention_mask=(columns[None] >= self.pad_B[:, None]).long(),
            # A finished row may still be carried along, past the model's last position.
            position_ids=(self.used - self.pad_B).clamp(max=self.last_position)[:, None],
            past_key_values=self.cache,
            use_cache=True,
        )
        self.used += 1
        return out.logits[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self.pad_B = self.pad_B[rows]
        self.cache.batch_select_indices(rows)


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
    """Whether its weight is all there is to it: no adapter, not quantised, not sharded over processes."""
    return is_plain(projection) and type(projection.weight) is nn.Parameter


def decoder_for(policy: Policy, start: Prefilled) -> Decoder:
    """The fastest decoder that fits the model."""
    return FamilyDecoder(policy, start) if in_family(policy) else TransformersDecoder(policy, start)
