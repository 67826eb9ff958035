"""How a pack attends: its two parts, and the kernels that compute them. ``gppo.policy.layout`` makes them.

L tokens in the pack, H query heads, h key/value heads, D their width. Log-normalisers are [L, H]. ``GridPart`` cuts the
segments into grids of rows of like length, padded on the right, and runs the CPU's flash kernel on each; ``VarlenPart``
gives CUDA's flash kernel the bounds of all segments at once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

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


def _end_to_end(pieces: tuple[Tensor, ...], slots_N: Tensor | None) -> Tensor:
    """The grids' [R, H, T, ...] as [N, H, ...]."""
    flat = [piece.transpose(1, 2).flatten(0, 1) for piece in pieces]
    whole = flat[0] if len(flat) == 1 else torch.cat(flat)
    return whole if slots_N is None else whole.index_select(0, slots_N)
