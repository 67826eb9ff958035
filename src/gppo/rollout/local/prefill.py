"""Prompts through the model, each once, and their keys and values spread over the rows of the group."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gppo.policy import Policy, micro_batches
from gppo.policy.head import replaced_head

#: Prompt tokens of one forward pass.
PREFILL_TOKENS = 16384


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
    """
    lengths_P = np.array([len(p) for p in prompts])
    longest, device = int(lengths_P.max()), policy.device
    row_prompt_B = np.repeat(np.arange(len(prompts)), rows_per_prompt)
    rows_of = [np.flatnonzero(row_prompt_B == p) for p in range(len(prompts))]
    keys: list[Tensor] = []
    values: list[Tensor] = []
    logits_BV: Tensor | None = None
    for part in micro_batches(lengths_P, PREFILL_TOKENS):
        layers, logits_pV = _forward(policy, [prompts[p] for p in part])
        if logits_BV is None:
            like = layers[0][0]
            shape = (len(row_prompt_B), like.shape[1], longest, like.shape[3])
            keys = [like.new_zeros(shape) for _ in layers]
            values = [like.new_zeros(shape) for _ in layers]
            logits_BV = logits_pV.new_zeros(len(row_prompt_B), logits_pV.shape[1])
        for i, p in enumerate(part):
            rows, length = torch.from_numpy(rows_of[p]).to(device), lengths_P[p]
            logits_BV[rows] = logits_pV[i]
            for layer, (key_pHSD, value_pHSD) in enumerate(layers):
                keys[layer][rows, :, longest - length :] = key_pHSD[i, :, :length]
                values[layer][rows, :, longest - length :] = value_pHSD[i, :, :length]
    assert logits_BV is not None
    pad_B = torch.from_numpy(longest - lengths_P[row_prompt_B]).to(device)
    return Prefilled(keys, values, pad_B, logits_BV)


def _forward(policy: Policy, prompts: list[np.ndarray]) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """Keys and values of each layer [p, Hkv, S, D], and the logits after each prompt [p, V]."""
    lengths = [len(p) for p in prompts]
    ids_pS = np.zeros((len(prompts), max(lengths)), dtype=np.int64)
    for i, prompt in enumerate(prompts):
        ids_pS[i, : len(prompt)] = prompt
    rows, last = torch.arange(len(prompts)), torch.tensor(lengths) - 1

    def at_the_end(hidden_pSH: Tensor, head: nn.Module) -> Tensor:
        return torch.nn.functional.linear(hidden_pSH[rows, last], head.weight, head.bias)  # type: ignore[arg-type]

    ids = torch.from_numpy(ids_pS).to(policy.device)
    if policy.unfused_reason is None:
        with replaced_head(policy.head, at_the_end):
            out = policy.model(input_ids=ids, use_cache=True)
        logits_pV = out.logits
    else:
        out = policy.model(input_ids=ids, use_cache=True)
        logits_pV = out.logits[rows, last]
    return [(layer.keys, layer.values) for layer in out.past_key_values.layers], logits_pV
