"""Decoders keep the rows' keys and values: our own for the Llama family, transformers' forward for the rest."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own name)
from transformers import DynamicCache

from gppo.policy import Policy
from gppo.rollout.local.draw import draw
from gppo.rollout.local.family import Cache, Weights, weights_of
from gppo.rollout.local.prefill import Source, by_forward
from gppo.rollout.local.seen import Seen
from gppo.rollout.local.steps import Steps
from gppo.sizes import cache_columns, cache_slots
from gppo.types import SamplingSettings


class Decoder(Protocol):
    """Slots 0 .. n - 1 hold rows; each row has a position of its own.

    Attributes:
        refills: whether a slot can be filled while rows are under way in others.
        seen: the tokens that rows hold; None where draws do not ask.
    """

    refills: bool
    seen: Seen | None

    @property
    def weights(self) -> Weights | None:
        """Those of a model of the family, for ``prefill``."""
        ...

    def admit(self, slots: np.ndarray, sources: Sequence[Source]) -> None:
        """Put a prompt's keys and values into each of the slots."""
        ...

    def run(self, tokens_B: np.ndarray, position_B: np.ndarray, uniforms_BK: np.ndarray) -> tuple[Tensor, Tensor]:
        """Append K tokens to each row, without waiting for the device in between.

        Args:
            tokens_B: the last token of slots 0 .. B - 1, which is not in the cache yet.
            position_B: its position.
            uniforms_BK: for the draws.

        Returns:
            the drawn tokens_BK and their logprobs_BK, on the device.
        """
        ...

    def worth_closing_up(self, alive: int, count: int) -> bool:
        """Whether finished rows should leave: ``alive`` of ``count`` go on."""
        ...

    def keep(self, order: np.ndarray) -> None:
        """Go on with these slots only, as slots 0, 1, ..."""
        ...


class FamilyDecoder:
    """Qwen3, Qwen2 and Llama over a static cache that grows by doubling, with the model's own weights.

    Args:
        policy: the model.
        slots: rows side by side.
        longest: columns that the longest row may come to need.
        settings: of the draws.
        steps: how a step is run.
    """

    refills = True

    def __init__(self, policy: Policy, slots: int, longest: int, settings: SamplingSettings, steps: Steps) -> None:
        self.rotary: Any = policy.model.model.rotary_emb  # type: ignore[union-attr]
        self.weights = weights_of(policy)
        self.slots = cache_slots(slots, policy.device.type)
        self.longest = longest
        self.settings = settings
        self.steps = steps
        self.device, self.dtype = policy.device, policy.compute_dtype
        self.heads = policy.config.num_attention_heads
        self.seen = seen_tokens(policy, self.slots, settings)
        self.cache = Cache([], [], *(torch.empty(0) for _ in range(3)))
        self.columns_C = torch.empty(0)

    def reserve(self, columns: int, like: Sequence[Tensor] | None = None) -> None:
        """Make room for so many columns."""
        before = len(self.columns_C)
        if columns < before:
            return
        size = cache_columns(before, columns, self.longest)
        if like is not None and not self.cache.keys:
            shapes = [(self.slots, k.shape[1], size, k.shape[3]) for k in like]
            # What was never written is hidden, by a bias on its score and by weight 0: neither hides a NaN.
            self.cache = self.cache._replace(
                keys=[torch.zeros(s, dtype=self.dtype, device=self.device) for s in shapes],
                values=[torch.zeros(s, dtype=self.dtype, device=self.device) for s in shapes],
                queries=torch.empty(self.slots, self.heads, shapes[0][3], dtype=self.dtype, device=self.device),
            )
        else:
            for tensors in (self.cache.keys, self.cache.values):
                for layer, old in enumerate(tensors):  # one at a time: the old one goes before the next is made
                    tensors[layer] = F.pad(old, (0, 0, 0, size - before))
        self.columns_C = torch.arange(size, device=self.device)
        cos_1CD, sin_1CD = self.rotary(self.weights.embedding, self.columns_C[None])
        self.cache = self.cache._replace(cos_CD=cos_1CD[0], sin_CD=sin_1CD[0])
        self.steps.moved()

    def admit(self, slots: np.ndarray, sources: Sequence[Source]) -> None:
        """Put a prompt's keys and values into each of the slots."""
        for prompts, rows, index in by_forward(sources):
            width = prompts.keys[0].shape[2]
            self.reserve(width, prompts.keys)
            to, of = torch.from_numpy(slots[rows]).to(self.device), torch.from_numpy(index).to(self.device)
            for mine, theirs in zip(self.cache.keys + self.cache.values, prompts.keys + prompts.values, strict=True):
                mine[:, :, :width].index_copy_(0, to, theirs.index_select(0, of).to(self.dtype))

    def run(self, tokens_B: np.ndarray, position_B: np.ndarray, uniforms_BK: np.ndarray) -> tuple[Tensor, Tensor]:
        """See ``Decoder.run``."""
        needed = int(position_B.max()) + uniforms_BK.shape[1]
        self.reserve(needed)
        return self.steps.run(
            self.weights, self.cache, self.columns_C, tokens_B, position_B, uniforms_BK, self.settings, self.seen
        )

    def worth_closing_up(self, alive: int, count: int) -> bool:
        """Where it makes the step smaller."""
        return self.steps.padded_rows(alive) < self.steps.padded_rows(count)

    def keep(self, order: np.ndarray) -> None:
        """Go on with these slots only; a row that keeps its slot costs nothing."""
        moves = np.flatnonzero(order != np.arange(len(order)))
        to, of = torch.from_numpy(moves).to(self.device), torch.from_numpy(order[moves]).to(self.device)
        for tensor in self.cache.keys + self.cache.values:
            tensor[to] = tensor[of]
        if self.seen is not None:
            self.seen.keep(order)


class TransformersDecoder:
    """Any causal LM through transformers' own forward and dynamic cache; rows are aligned on the right."""

    refills = False
    weights = None

    def __init__(self, policy: Policy, slots: int, settings: SamplingSettings) -> None:
        self.model = policy.model
        self.computing = policy.computing
        self.device = policy.device
        self.last_position = policy.max_context - 1
        self.settings = settings
        self.seen = seen_tokens(policy, slots, settings)
        self.used = 0
        self.cache = DynamicCache()

    def admit(self, slots: np.ndarray, sources: Sequence[Source]) -> None:
        """Start anew with these prompts; the slots are 0 .. B - 1."""
        assert np.array_equal(slots, np.arange(len(sources)))
        self.used = max(source.length for source in sources)
        self.cache = DynamicCache()
        first = sources[0].prompts
        for layer in range(len(first.keys)):
            pair = [
                like.new_zeros(len(sources), like.shape[1], self.used, like.shape[3])
                for like in (first.keys[layer], first.values[layer])
            ]
            for row, source in enumerate(sources):
                theirs = source.prompts.keys[layer], source.prompts.values[layer]
                for mine, their in zip(pair, theirs, strict=True):
                    mine[row, :, self.used - source.length :] = their[source.index, :, : source.length]
            self.cache.update(*pair, layer)

    def step(self, tokens_B: Tensor, position_B: Tensor) -> Tensor:
        """Append one token a row; logits [B, V] of the next."""
        columns = torch.arange(self.used + 1, device=self.device)
        with self.computing():
            out = self.model(
                input_ids=tokens_B[:, None],
                attention_mask=(columns[None] >= self.used - position_B[:, None]).long(),
                # A finished row may still be carried along, past the model's last position.
                position_ids=position_B.clamp(max=self.last_position)[:, None],
                past_key_values=self.cache,
                use_cache=True,
            )
        self.used += 1
        return out.logits[:, -1]

    def run(self, tokens_B: np.ndarray, position_B: np.ndarray, uniforms_BK: np.ndarray) -> tuple[Tensor, Tensor]:
        """See ``Decoder.run``."""
        token, position = torch.from_numpy(tokens_B).to(self.device), torch.from_numpy(position_B).to(self.device)
        uniforms = torch.from_numpy(uniforms_BK).to(self.device)
        tokens, logprobs = [], []
        for k in range(uniforms.shape[1]):
            logits_BV = self.step(token, position + k)
            seen_BV = None if self.seen is None else self.seen.with_tokens(token)
            token, logprob = draw(logits_BV, uniforms[:, k], self.settings, seen_BV)
            tokens.append(token)
            logprobs.append(logprob)
        return torch.stack(tokens, 1), torch.stack(logprobs, 1)

    def worth_closing_up(self, alive: int, count: int) -> bool:
        """From a quarter on: fewer, larger copies of the cache."""
        return alive <= 0.75 * count

    def keep(self, order: np.ndarray) -> None:
        """Go on with these slots only, as slots 0, 1, ..."""
        self.cache.batch_select_indices(torch.from_numpy(order).to(self.device))
        if self.seen is not None:
            self.seen.keep(order)


def seen_tokens(policy: Policy, slots: int, settings: SamplingSettings) -> Seen | None:
    """Flags for so many rows, where the draws need them."""
    if settings.repetition_penalty == 1:
        return None
    return Seen(slots, policy.head.weight.shape[0], policy.device)
