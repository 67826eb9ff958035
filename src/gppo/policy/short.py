"""Attention over packs of short rows on a CPU: plain batched products, with each branch's trunk beside its own keys.

The flash kernel's blocks are larger than such rows, and its two parts have to be merged. Here a branch of T tokens has
the S keys of its trunk and its own in one row of scores, which is held for the backward:

    P = softmax(scale Q K^T + mask),    O = P V
    dV = P^T dO,    dS = P (dO V^T - rowsum(P dO V^T)),    dQ = scale dS K,    dK = scale dS^T Q

and the gradients of a trunk's keys are summed over its branches. Rows of like length share a product.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

#: Keys that a row may have at most. Beyond it the flash kernel is as fast and holds no scores.
SHORT = 128


@dataclass(frozen=True, slots=True)
class ShortGrid:
    """R rows of T queries with C keys each, padded at the end.

    Args:
        query_places_RT: int64, places in the pack; padding repeats a row's last one.
        padding_RT: bool, which are padding.
        key_places_RC: int64, the trunk's and then the row's own; padding repeats the last.
        hidden_RTC: bool, which keys a query does not see.
    """

    query_places_RT: np.ndarray
    padding_RT: np.ndarray
    key_places_RC: np.ndarray
    hidden_RTC: np.ndarray


@dataclass(frozen=True, slots=True)
class _Ready:
    """A grid for so many heads: what is gathered from the pack's [L * heads, D], and the mask.

    Args:
        queries: int64 [R * h * g * T], in this order of axes.
        keys: int64 [R * h * C].
        mask: [R * h or 1, g * T, C], what is added to the scores.
        padding: bool [R * h * g * T], or None where nothing is padded.
        shape: (R * h, g * T, C).
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor
    padding: Tensor | None
    shape: tuple[int, int, int]


#: What the backward needs of a grid: scaled queries, keys, values and weights.
Kept = tuple[Tensor, Tensor, Tensor, Tensor]


class ShortRows:
    """The attention of a pack whose rows are all short.

    Args:
        grids: together they hold each of the pack's tokens once as a query.
        tokens: L.
    """

    def __init__(self, grids: list[ShortGrid], tokens: int) -> None:
        self.grids = grids
        self.tokens = tokens
        self._by_heads: dict[tuple[int, int, torch.dtype], tuple[list[_Ready], Tensor, Tensor, Tensor]] = {}

    def forward(self, q_LHD: Tensor, k_LhD: Tensor, v_LhD: Tensor, scale: float) -> tuple[Tensor, list[Kept]]:
        """Output [L, H, D], and what the backward needs of each grid."""
        grids, slots, _, _ = self._ready(q_LHD, k_LhD)
        width = q_LHD.shape[2]
        q_flat, k_flat, v_flat = (x.reshape(-1, width) for x in (q_LHD, k_LhD, v_LhD))
        kept: list[Kept] = []
        outputs = []
        for grid in grids:
            rows, queries, keys = grid.shape
            q = q_flat.index_select(0, grid.queries).mul_(scale).view(rows, queries, width)
            k, v = (x.index_select(0, grid.keys).view(rows, keys, width) for x in (k_flat, v_flat))
            weights = torch.baddbmm(grid.mask.expand(grid.shape), q, k.transpose(1, 2)).softmax(-1)
            outputs.append(torch.bmm(weights, v).view(-1, width))
            kept.append((q, k, v, weights))
        return torch.cat(outputs).index_select(0, slots).view(q_LHD.shape), kept

    def backward(
        self, grad_LHD: Tensor, kept: list[Kept], scale: float, key_shape: torch.Size
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of queries, keys and values."""
        width = grad_LHD.shape[2]
        (grids, slots, uses, ends) = self._by_heads[grad_LHD.shape[1], key_shape[1], grad_LHD.dtype]
        grad_flat = grad_LHD.reshape(-1, width)
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for grid, (q, k, v, weights) in zip(grids, kept, strict=True):
            grad = grad_flat.index_select(0, grid.queries)
            if grid.padding is not None:
                grad.masked_fill_(grid.padding[:, None], 0)
            grad = grad.view_as(q)
            through = torch._softmax_backward_data(torch.bmm(grad, v.transpose(1, 2)), weights, -1, weights.dtype)
            of_queries, of_keys = torch.bmm(through, k).mul_(scale), torch.bmm(through.transpose(1, 2), q)
            of_values = torch.bmm(weights.transpose(1, 2), grad)
            found.append((of_queries.view(-1, width), of_keys.view(-1, width), of_values.view(-1, width)))
        of_queries, of_keys, of_values = (torch.cat(pieces) for pieces in zip(*found, strict=True))
        key_grad, value_grad = (
            torch.nn.functional.embedding_bag(uses, flat, ends, mode="sum").view(key_shape)
            for flat in (of_keys, of_values)
        )
        return of_queries.index_select(0, slots).view(grad_LHD.shape), key_grad, value_grad

    def _ready(self, q_LHD: Tensor, k_LhD: Tensor) -> tuple[list[_Ready], Tensor, Tensor, Tensor]:
        """Of each grid what is gathered; where each query is among the grids'; and of each key the places where it
        stands in the grids, end to end, with where those of each key begin."""
        heads, key_heads, dtype = q_LHD.shape[1], k_LhD.shape[1], q_LHD.dtype
        if (heads, key_heads, dtype) not in self._by_heads:
            self._by_heads[heads, key_heads, dtype] = self._make(heads, key_heads, dtype)
        return self._by_heads[heads, key_heads, dtype]

    def _make(self, heads: int, key_heads: int, dtype: torch.dtype) -> tuple[list[_Ready], Tensor, Tensor, Tensor]:
        made = [_ready_for(grid, heads, key_heads, dtype) for grid in self.grids]
        queries = torch.cat([grid.queries for grid in made])
        real = torch.cat(
            [torch.ones(len(g.queries), dtype=torch.bool) if g.padding is None else ~g.padding for g in made]
        )
        at = real.nonzero().squeeze(1)
        slots = torch.empty(self.tokens * heads, dtype=torch.int64)
        slots[queries[at]] = at
        keys = torch.cat([grid.keys for grid in made])
        uses = keys.argsort(stable=True)
        counts = torch.bincount(keys, minlength=self.tokens * key_heads)
        return made, slots, uses, counts.cumsum(0) - counts


def _ready_for(grid: ShortGrid, heads: int, key_heads: int, dtype: torch.dtype) -> _Ready:
    group = heads // key_heads
    (rows, queries), keys = grid.query_places_RT.shape, grid.key_places_RC.shape[1]
    of_head = np.arange(heads).reshape(1, heads, 1)
    query_index = grid.query_places_RT[:, None] * heads + of_head
    key_index = grid.key_places_RC[:, None] * key_heads + of_head[:, :key_heads]
    hidden = grid.hidden_RTC
    if (hidden == hidden[:1]).all():
        hidden = hidden[:1]
    mask = np.where(hidden, -np.inf, 0)[:, None, None].repeat(group, 2)  # [R or 1, 1, g, T, C]
    if len(hidden) > 1:
        mask = mask.repeat(key_heads, 1)
    padding = None
    if grid.padding_RT.any():
        padding = torch.from_numpy(grid.padding_RT[:, None].repeat(heads, 1).reshape(-1))
    return _Ready(
        torch.from_numpy(query_index.reshape(-1)),
        torch.from_numpy(key_index.reshape(-1)),
        torch.from_numpy(mask.reshape(-1, group * queries, keys)).to(dtype),
        padding,
        (rows * key_heads, group * queries, keys),
    )


def short_attention(q_LHD: Tensor, k_LhD: Tensor, v_LhD: Tensor, rows: ShortRows, scale: float) -> Tensor:
    """Attention [L, H, D] of such a pack, in the inputs' precision; float32 at least, for scores are held in it."""
    wide = torch.promote_types(q_LHD.dtype, torch.float32)
    with torch.autocast("cpu", enabled=False):
        out_LHD = _ShortAttention.apply(q_LHD.to(wide), k_LhD.to(wide), v_LhD.to(wide), rows, scale)
    return out_LHD.to(q_LHD.dtype)


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q_LHD: Tensor, k_LhD: Tensor, v_LhD: Tensor, rows: ShortRows, scale: float) -> Tensor:
        out_LHD, kept = rows.forward(q_LHD, k_LhD, v_LhD, scale)
        ctx.save_for_backward(*(tensor for grid in kept for tensor in grid))
        ctx.rows, ctx.scale, ctx.key_shape = rows, scale, k_LhD.shape
        return out_LHD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_LHD: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # read once: activation checkpointing allows no more
        kept: list[Any] = [saved[i : i + 4] for i in range(0, len(saved), 4)]
        return *ctx.rows.backward(grad_LHD, kept, ctx.scale, ctx.key_shape), None, None
