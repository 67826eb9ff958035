"""Prompts through the model, each once; their keys and values go to every row of the group."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import DynamicCache

from gppo.policy import Policy
from gppo.policy.family import shape_of
from gppo.policy.head import replaced_head
from gppo.rollout.local.family import Weights, through_prompts
from gppo.sizes import PREFILL_TOKENS, micro_batches
from gppo.types import UserError

#: Kinds of layers whose whole state is keys and values, one column a token.
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts of one forward pass. Column c holds position c; columns from a prompt's length on hold nothing of use.

    Args:
        keys: for each layer, [P, Hkv, S, D].
        values: for each layer, [P, Hkv, S, D].
        lengths_P: int64, tokens of each prompt.
        logits_PV: of the first token of a response.
    """

    keys: list[Tensor]
    values: list[Tensor]
    lengths_P: np.ndarray
    logits_PV: Tensor


@dataclass(frozen=True, slots=True)
class Source:
    """One prompt that rows start from.

    Args:
        prompts: those of its forward pass.
        index: which of them it is.
    """

    prompts: Prompts
    index: int

    @property
    def length(self) -> int:
        """Its tokens."""
        return int(self.prompts.lengths_P[self.index])


def prefill(policy: Policy, prompts: Sequence[np.ndarray], weights: Weights | None = None) -> list[Source]:
    """Run every prompt once.

    Args:
        policy: the model.
        prompts: P arrays int64 [S_p].
        weights: of a model of the family, which then runs without transformers' forward.

    Returns:
        for each prompt where its keys, values and logits are.

    Raises:
        UserError: the model keeps other state than keys and values.
    """
    _check_caches(policy)
    lengths_P = np.array([len(p) for p in prompts])
    sources: dict[int, Source] = {}
    for part in micro_batches(lengths_P, PREFILL_TOKENS):
        done = _forward(policy, [prompts[p] for p in part], weights)
        sources |= {int(p): Source(done, i) for i, p in enumerate(part)}
    return [sources[p] for p in range(len(prompts))]


def by_forward(sources: Sequence[Source]) -> list[tuple[Prompts, np.ndarray, np.ndarray]]:
    """(prompts of a forward pass, which rows start there, from which of its prompts) for each pass."""
    rows_of: dict[int, list[int]] = {}
    for row, source in enumerate(sources):
        rows_of.setdefault(id(source.prompts), []).append(row)
    return [
        (sources[rows[0]].prompts, np.array(rows), np.array([sources[row].index for row in rows]))
        for rows in rows_of.values()
    ]


def first_logits(sources: Sequence[Source]) -> Tensor:
    """Logits [B, V] of each row's first token."""
    parts = by_forward(sources)
    logits_BV = parts[0][0].logits_PV.new_empty(len(sources), parts[0][0].logits_PV.shape[1])
    for prompts, rows, index in parts:
        logits_BV[torch.from_numpy(rows)] = prompts.logits_PV[torch.from_numpy(index)]
    return logits_BV


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


def _forward(policy: Policy, prompts: list[np.ndarray], weights: Weights | None) -> Prompts:
    """Prompts that share a forward pass."""
    lengths_P = np.array([len(p) for p in prompts])
    ids_PS = np.zeros((len(prompts), lengths_P.max()), dtype=np.int64)
    for i, prompt in enumerate(prompts):
        ids_PS[i, : len(prompt)] = prompt
    ids, last = torch.from_numpy(ids_PS).to(policy.device), torch.from_numpy(lengths_P - 1).to(policy.device)
    if weights is None:
        keys, values, logits_PV = _by_transformers(policy, ids, last)
    else:
        rotary: Any = policy.model.model.rotary_emb  # type: ignore[union-attr]
        cos_1SD, sin_1SD = rotary(weights.embedding, torch.arange(ids.shape[1], device=policy.device)[None])
        keys, values, logits_PV = through_prompts(shape_of(policy), weights, ids, last, cos_1SD[0], sin_1SD[0])
    return Prompts(keys, values, lengths_P, logits_PV)


def _by_transformers(policy: Policy, ids_PS: Tensor, last_P: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Keys and values of each layer, and logits_PV; see ``through_prompts``."""
    rows = torch.arange(len(ids_PS), device=last_P.device)

    def at_the_end(hidden_PSH: Tensor, head: nn.Linear) -> Tensor:
        return torch.nn.functional.linear(hidden_PSH[rows, last_P], head.weight, head.bias)

    # A cache made from the configuration would keep only the last columns of sliding windows, and those are padding.
    cache = DynamicCache()
    if policy.unfused_reason is None:
        with replaced_head(policy.head, at_the_end), policy.computing():
            logits_PV = policy.model(input_ids=ids_PS, past_key_values=cache, use_cache=True).logits
    else:
        with policy.computing():
            logits_PV = policy.model(input_ids=ids_PS, past_key_values=cache, use_cache=True).logits[rows, last_P]
    return [layer.keys for layer in cache.layers], [layer.values for layer in cache.layers], logits_PV
