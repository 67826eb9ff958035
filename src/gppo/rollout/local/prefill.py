"""Prompts through the model, each once, and their keys and values spread over the rows of the group."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from gppo.policy import Policy, micro_batches
from gppo.policy.head import replaced_head
from gppo.types import UserError

#: Prompt tokens of one forward pass.
PREFILL_TOKENS = 16384

#: Kinds of layers whose whole state is keys and values, one column a token.
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


@dataclass(frozen=True, slots=True)
class Prefilled:
    """What decoding starts from. Rows are aligned on the right: every prompt ends in column S - 1.

    Args:
        keys: for each layer, [B, Hkv, S, D].
        values: for each layer, [B, Hkv, S, D].
        pad_B: int64 [B], columns on the left that hold nothing.
        logits_BV: of the first token of each response.
    """

    keys: list[Tensor]
    values: list[Tensor]
    pad_B: Tensor
    logits_BV: Tensor


def prefill(policy: Policy, prompts: Sequence[np.ndarray], rows_per_prompt: Sequence[int]) -> Prefilled:
    """Run every prompt once and copy its cache to the rows that share it.

    Args:
        policy: the model.
        prompts: P arrays int64 [S_p].
        rows_per_prompt: how many rows decode from each; rows are ordered by prompt.

    Raises:
        UserError: the model keeps other state than keys and values.
    """
    _check_caches(policy)
    lengths_P = np.array([len(p) for p in prompts])
    longest, device = int(lengths_P.max()), policy.device
    row_prompt_B = np.repeat(np.arange(len(prompts)), rows_per_prompt)
    rows_of = [torch.from_numpy(np.flatnonzero(row_prompt_B == p)).to(device) for p in range(len(prompts))]
    keys: list[Tensor] = []
    values: list[Tensor] = []
    logits_BV: Tensor | None = None

    def empty(like_pHSD: Tensor) -> Tensor:
        return like_pHSD.new_zeros(len(row_prompt_B), like_pHSD.shape[1], longest, like_pHSD.shape[3])

    for part in micro_batches(lengths_P, PREFILL_TOKENS):
        layers, logits_pV = _forward(policy, [prompts[p] for p in part])
        if logits_BV is None:
            keys, values = [empty(key) for key, _ in layers], [empty(value) for _, value in layers]
            logits_BV = logits_pV.new_zeros(len(row_prompt_B), logits_pV.shape[1])
        for i, p in enumerate(part):
            rows, length = rows_of[p], int(lengths_P[p])
            logits_BV[rows] = logits_pV[i]
            for layer, (key_pHSD, value_pHSD) in enumerate(layers):
                keys[layer][rows, :, longest - length :] = key_pHSD[i, :, :length]
                values[layer][rows, :, longest - length :] = value_pHSD[i, :, :length]
    assert logits_BV is not None
    pad_B = torch.from_numpy(longest - lengths_P[row_prompt_B]).to(device)
    return Prefilled(keys, values, pad_B, logits_BV)


def _check_caches(policy: Policy) -> None:
    """Refuse models with other state than keys and values (Mamba, linear attention): their rows cannot be aligned."""
    kinds = set(getattr(policy.config, "layer_types", None) or [])
    accepted = inspect.signature(policy.model.forward).parameters
    keeps_them = "past_key_values" in accepted or "kwargs" in accepted
    if "cache_params" in accepted or not keeps_them or kinds - _ATTENTION:
        raise UserError(
            f"the local sampler keeps keys and values, and a {policy.config.model_type} model keeps more than those; "
            "take a model with attention in every layer"
        )


def _forward(policy: Policy, prompts: list[np.ndarray]) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Keys and values of each layer [p, Hkv, S, D], and the logits after each prompt [p, V]."""
    lengths = [len(p) for p in prompts]
    ids_pS = np.zeros((len(prompts), max(lengths)), dtype=np.int64)
    for i, prompt in enumerate(prompts):
        ids_pS[i, : len(prompt)] = prompt
    rows, last = torch.arange(len(prompts)), torch.tensor(lengths) - 1

    def at_the_end(hidden_pSH: Tensor, head: nn.Linear) -> Tensor:
        return torch.nn.functional.linear(hidden_pSH[rows, last], head.weight, head.bias)

    ids = torch.from_numpy(ids_pS).to(policy.device)
    # A cache made from the configuration would keep only the last columns of sliding windows, and those are padding.
    cache = DynamicCache()
    if policy.unfused_reason is None:
        with replaced_head(policy.head, at_the_end):
            out = policy.model(input_ids=ids, past_key_values=cache, use_cache=True)
        logits_pV = out.logits
    else:
        out = policy.model(input_ids=ids, past_key_values=cache, use_cache=True)
        logits_pV = out.logits[rows, last]
    return [(layer.keys, layer.values) for layer in cache.layers], logits_pV
