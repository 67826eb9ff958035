"""From the segments of a pack to the layout of its attention: which share a grid, and where their bounds are."""

import numpy as np
import torch
from torch import Tensor

from gppo.policy.segments import Grid, GridPart, Layout, Rows, VarlenPart
from gppo.policy.short import SHORT, ShortGrid, ShortRows
from gppo.sizes import Pack

#: Share of a grid that may be padding.
_GRID_PADDING = 0.25


def layout_of(pack: Pack, device: torch.device) -> Layout | ShortRows:
    """The layout of a pack, its indices on the device."""
    if device.type == "cuda":
        return _bounds(pack, device)
    lengths, trunk_of = _segments(pack)
    trunk_lengths = np.where(trunk_of < 0, 0, lengths[trunk_of])
    if (lengths + trunk_lengths).max() <= SHORT:
        return _short_rows(lengths, trunk_of, trunk_lengths)
    return _grids(pack, device)


def _segments(pack: Pack) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of all segments, and for each the one that is its trunk, -1 where it has none."""
    trunk_of = np.repeat(np.arange(len(pack.branches_of)), pack.branches_of)
    lengths = np.concatenate([pack.trunk_lengths, pack.branch_lengths])
    return lengths, np.concatenate([np.full(len(pack.trunk_lengths), -1), trunk_of])


def _short_rows(lengths: np.ndarray, trunk_of: np.ndarray, trunk_lengths: np.ndarray) -> ShortRows:
    starts = np.cumsum(lengths) - lengths
    grids = []
    for rows in _rows_of_like_length(lengths, trunk_lengths):
        query_RT, real_RT = _places(starts[rows], lengths[rows])
        own, trunk = lengths[rows][:, None], trunk_lengths[rows][:, None]
        column = np.arange(int((own + trunk).max()))
        key_RC = starts[rows][:, None] + np.clip(column - trunk, 0, own - 1)
        key_RC = np.where(column < trunk, starts[trunk_of[rows]][:, None] + column, key_RC)
        last_RT = trunk + np.minimum(np.arange(query_RT.shape[1]), own - 1)
        grids.append(ShortGrid(query_RT, ~real_RT, key_RC, column > last_RT[:, :, None]))
    return ShortRows(grids, int(lengths.sum()))


def _branches(pack: Pack) -> tuple[np.ndarray, np.ndarray]:
    """Lengths of the trunks that have branches, and bounds among all branches of each one's: they lie together."""
    shared = int((pack.branches_of > 0).sum())
    first_branch = np.cumsum([0, *pack.branches_of[:shared]])
    return pack.trunk_lengths[:shared], np.cumsum([0, *pack.branch_lengths])[first_branch]


def _bounds(pack: Pack, device: torch.device) -> Layout:
    lengths = np.concatenate([pack.trunk_lengths, pack.branch_lengths])
    trunks, bounds = _branches(pack)
    own = _varlen(lengths, lengths, device, causal=True)
    return Layout(own, _varlen(np.diff(bounds), trunks, device, causal=False) if len(trunks) else None)


def _grids(pack: Pack, device: torch.device) -> Layout:
    lengths = np.concatenate([pack.trunk_lengths, pack.branch_lengths])
    starts = np.cumsum(lengths) - lengths
    own_rows = _rows_of_like_length(lengths, np.zeros_like(lengths))
    own_grids = [(starts[rows], lengths[rows], starts[rows], lengths[rows]) for rows in own_rows]
    own = _grid_part(own_grids, 0, device, causal=True)
    trunks, bounds = _branches(pack)
    if not len(trunks):
        return Layout(own, None)
    branches, tail = np.diff(bounds), int(pack.trunk_lengths.sum())
    # The kernel has no padding of keys without a mask: only trunks of one length share a grid.
    cross_grids = [
        (tail + bounds[:-1][rows], branches[rows], starts[rows], trunks[rows])
        for rows in _rows_of_like_length(branches, trunks)
    ]
    return Layout(own, _grid_part(cross_grids, tail, device, causal=False))


def _varlen(queries: np.ndarray, keys: np.ndarray, device: torch.device, *, causal: bool) -> VarlenPart:
    query_bounds, key_bounds = (torch.from_numpy(np.cumsum([0, *x])).to(device, torch.int32) for x in (queries, keys))
    longest, counts = (int(queries.max()), int(keys.max())), (int(queries.sum()), int(keys.sum()))
    return VarlenPart(query_bounds, key_bounds, longest, counts, causal)


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
    grids: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    first: int,
    device: torch.device,
    *,
    causal: bool,
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
    query_slots, key_slots = (_slots(np.concatenate(places), device) for places in (query_places, key_places))
    return GridPart(tuple(made), query_slots, key_slots, causal)


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
