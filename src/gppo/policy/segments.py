"""The layout of a pack as its attention reads it, and the kernels that compute one part of it.

L tokens in the pack, H query heads, h key/value heads, D their width. Log-normalisers are [L, H]. ``GridPart`` cuts the
segments into grids of rows of like length, padded on the right, and runs the CPU's flash kernel on each; ``VarlenPart``
gives CUDA's flash kernel the bounds of all segments at once.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gppo.policy.packing import Pack

#: Share of a grid that may be padding.
_GRID_PADDING = 0.25

#: Instead of the log-normaliser of a padded query: exp(score - this) is 0, so it has no part in any gradient.
_NO_PART = 1e30

_cpu_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_cpu_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
_cuda_forward = torch.ops.aten._flash_attention_forward
_cuda_backward = torch.ops.aten._flash_attention_backward


@dataclass(frozen=True, slots=True)
class Rows:
    """R rows of T tokens of the pack.

    Args:
        shape: (R, T).
        start: where they begin if they lie end to end.
        index_n: int64 [R * T], else their places; padding repeats a row's last token.
    """

    shape: tuple[int, int]
    start: int
    index_n: Tensor | None

    def take(self, x_L: Tensor) -> Tensor:
        """[R, H, T, ...] of [L, H, ...]."""
        count = self.shape[0] * self.shape[1]
        taken = x_L[self.start : self.start + count] if self.index_n is None else x_L.index_select(0, self.index_n)
        return taken.unflatten(0, self.shape).transpose(1, 2)


@dataclass(frozen=True, slots=True)
class Grid:
    """R rows of queries, and for each the row of keys that it attends to.

    Args:
        queries: [R, T].
        keys: [R, S]; the queries' own where attention is causal.
        padding_RT: bool, which queries are padding; None where none is.
    """

    queries: Rows
    keys: Rows
    padding_RT: Tensor | None


@dataclass(frozen=True, slots=True)
class GridPart:
    """A part of the attention, for the CPU: grids that together hold each of its N queries and M keys once.

    Args:
        grids: the rows.
        query_slots_N: int64, where each query is among the grids' queries end to end; None where in order.
        key_slots_M: the same for keys.
        causal: own, or cross.
    """

    grids: tuple[Grid, ...]
    query_slots_N: Tensor | None
    key_slots_M: Tensor | None
    causal: bool

    def forward(self, q_LHD: Tensor, k_LhD: Tensor, v_LhD: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """Output [N, H, D] and log-normaliser [N, H] of the part's queries."""
        found = [
            _cpu_forward(
                grid.queries.take(q_LHD), grid.keys.take(k_LhD), grid.keys.take(v_LhD), 0.0, self.causal, scale=scale
            )
            for grid in self.grids
        ]
        out_NHD, lse_NH = (_end_to_end(of_one, self.query_slots_N) for of_one in zip(*found, strict=True))
        return out_NHD, lse_NH

    def backward(self, grad_LHD: Tensor, saved: tuple[Tensor, ...], scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of the part's queries [N, H, D], keys and values [M, h, D]; ``saved`` are q, k, v, out and lse."""
        q_LHD, k_LhD, v_LhD, out_LHD, lse_LH = saved
        found = []
        for grid in self.grids:
            queries, keys = grid.queries, grid.keys
            lse_RHT = queries.take(lse_LH)
            if grid.padding_RT is not None:
                lse_RHT = lse_RHT.masked_fill(grid.padding_RT[:, None], _NO_PART)
            q, k, v = queries.take(q_LHD), keys.take(k_LhD), keys.take(v_LhD)
            out, grad = queries.take(out_LHD), queries.take(grad_LHD)
            found.append(_cpu_backward(grad, q, k, v, out, lse_RHT, 0.0, self.causal, scale=scale))
        slots = (self.query_slots_N, self.key_slots_M, self.key_slots_M)
        grad_q, grad_k, grad_v = (_end_to_end(*pair) for pair in zip(zip(*found, strict=True), slots, strict=True))
        return grad_q, grad_k, grad_v


@dataclass(frozen=True, slots=True)
class VarlenPart:
    """A part of the attention, for CUDA in half precision: all segments in one call, their bounds given.

    Args:
        query_bounds: int32 [segments + 1], among the part's queries, which are the pack's tail.
        key_bounds: int32 [segments + 1], among the part's keys, which are the pack's head.
        longest: of the queries' segments and of the keys'.
        counts: N and M.
        causal: own, or cross.
    """

    query_bounds: Tensor
    key_bounds: Tensor
    longest: tuple[int, int]
    counts: tuple[int, int]
    causal: bool

    def forward(self, q_LHD: Tensor, k_LhD: Tensor, v_LhD: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        """As ``GridPart.forward``."""
        n, m = self.counts
        bounds = (self.query_bounds, self.key_bounds, *self.longest)
        out_NHD, lse_HN, *_ = _cuda_forward(
            q_LHD[-n:], k_LhD[:m], v_LhD[:m], *bounds, 0.0, self.causal, False, scale=scale
        )
        return out_NHD, lse_HN.t()

    def backward(self, grad_LHD: Tensor, saved: tuple[Tensor, ...], scale: float) -> tuple[Tensor, Tensor, Tensor]:
        """As ``GridPart.backward``."""
        n, m = self.counts
        q_LHD, k_LhD, v_LhD, out_LHD, lse_LH = saved
        tensors = (grad_LHD[-n:], q_LHD[-n:], k_LhD[:m], v_LhD[:m], out_LHD[-n:], lse_LH[-n:].t())
        unused = torch.empty(2, dtype=torch.uint64, device=q_LHD.device)  # the state of a dropout that there is not
        bounds = (self.query_bounds, self.key_bounds, *self.longest)
        return _cuda_backward(
            *(x.contiguous() for x in tensors), *bounds, 0.0, self.causal, unused, unused[:0], scale=scale
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """How a pack attends.

    Args:
        own: every segment to itself, causally.
        cross: branches, the pack's tail, to their trunks, its head; None where there are no branches.
    """

    own: GridPart | VarlenPart
    cross: GridPart | VarlenPart | None


def layout_of(pack: Pack, device: torch.device) -> Layout:
    """The layout of a pack, its indices on the device."""
    shared = int((pack.branches_of > 0).sum())
    lengths = np.concatenate([pack.trunk_lengths, pack.branch_lengths])
    trunks = pack.trunk_lengths[:shared]
    first_branch = np.cumsum([0, *pack.branches_of[:shared]])
    bounds = np.cumsum([0, *pack.branch_lengths])[first_branch]
    branches = np.diff(bounds)  # tokens of all branches of each trunk: they lie together
    if device.type == "cuda":
        own = _varlen(lengths, lengths, device, causal=True)
        return Layout(own, _varlen(branches, trunks, device, causal=False) if shared else None)
    starts = np.cumsum(lengths) - lengths
    own_rows = _rows_of_like_length(lengths, np.zeros_like(lengths))
    own_grids = [(starts[rows], lengths[rows], starts[rows], lengths[rows]) for rows in own_rows]
    cross = None
    if shared:
        # The kernel has no padding of keys without a mask: only trunks of one length share a grid.
        tail = int(pack.trunk_lengths.sum())
        cross_grids = [
            (tail + bounds[:-1][rows], branches[rows], starts[rows], trunks[rows])
            for rows in _rows_of_like_length(branches, trunks)
        ]
        cross = _grid_part(cross_grids, tail, device, causal=False)
    return Layout(_grid_part(own_grids, 0, device, causal=True), cross)


def _varlen(queries: np.ndarray, keys: np.ndarray, device: torch.device, *, causal: bool) -> VarlenPart:
    bounds = (torch.from_numpy(np.cumsum([0, *x])).to(device, torch.int32) for x in (queries, keys))
    longest = (int(queries.max()), int(keys.max()))
    return VarlenPart(*bounds, longest, (int(queries.sum()), int(keys.sum())), causal)


def _rows_of_like_length(lengths: np.ndarray, kinds: np.ndarray) -> list[np.ndarray]:
    """Rows that share a grid: of one kind, and not more than ``_GRID_PADDING`` of it padding."""
    order = np.lexsort((-lengths, kinds))
    parts: list[list[int]] = []
    tokens = 0
    for row in order:
        length = int(lengths[row])
        if parts and kinds[parts[-1][0]] == kinds[row]:
            slots = (len(parts[-1]) + 1) * int(lengths[parts[-1][0]])
            if tokens + length >= (1 - _GRID_PADDING) * slots:
                parts[-1].append(int(row))
                tokens += length
                continue
        parts.append([int(row)])
        tokens = length
    return [np.sort(part) for part in parts]


def _grid_part(
    grids: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]], first: int, device: torch.device, *, causal: bool
) -> GridPart:
    """A part of (query starts, query lengths, key starts, key lengths) of each grid's rows; queries from ``first``."""
    made, query_places, key_places = [], [], []
    for query_starts, query_lengths, key_starts, key_lengths in grids:
        query_RT, real_RT = _places(query_starts, query_lengths)
        key_RS, _ = _places(key_starts, key_lengths)
        padding = None if real_RT.all() else torch.from_numpy(~real_RT).to(device)
        made.append(Grid(_rows(query_RT, device), _rows(key_RS, device), padding))
        query_places.append(np.where(real_RT, query_RT - first, -1).reshape(-1))
        key_places.append(query_places[-1] if causal else key_RS.reshape(-1))
    slots = (_slots(np.concatenate(places), device) for places in (query_places, key_places))
    return GridPart(tuple(made), *slots, causal)


def _places(starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[R, T] places of the rows' tokens, a row's last one repeated; and which are real."""
    steps = np.arange(lengths.max())
    return starts[:, None] + np.minimum(steps, lengths[:, None] - 1), steps < lengths[:, None]


def _rows(places_RT: np.ndarray, device: torch.device) -> Rows:
    flat, start = places_RT.reshape(-1), int(places_RT[0, 0])
    in_order = bool((flat == start + np.arange(flat.size)).all())
    return Rows(places_RT.shape, start, None if in_order else torch.from_numpy(flat).to(device))


def _slots(places: np.ndarray, device: torch.device) -> Tensor | None:
    """Where each token is in the grids; ``places`` tells the token of each slot, -1 for padding."""
    real = np.flatnonzero(places >= 0)
    if len(real) == len(places) and (places == np.arange(len(places))).all():
        return None
    slots = np.empty(len(real), dtype=np.int64)
    slots[places[real]] = real
    return torch.from_numpy(slots).to(device)


def _end_to_end(pieces: tuple[Tensor, ...], slots_N: Tensor | None) -> Tensor:
    """The grids' [R, H, T, ...] as [N, H, ...]."""
    flat = [piece.transpose(1, 2).flatten(0, 1) for piece in pieces]
    whole = flat[0] if len(flat) == 1 else torch.cat(flat)
    return whole if slots_N is None else whole.index_select(0, slots_N)
