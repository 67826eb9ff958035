"""The matrix products of K-Center-Greedy: s(x, c) = x.c - |c|^2 / 2 for many pairs, in float32."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

_SCORES_AT_ONCE = 1 << 21  # 8 MB, which stay in the cache


class Product:
    """Scores of rows of the points; the larger the score of (x, c) for one x, the nearer c.

    Args:
        points_ND: float32 [N, D], contiguous.
        norms_N: float64 [N], squared lengths.
        device: where the products are made.
    """

    def __init__(self, points_ND: np.ndarray, norms_N: np.ndarray, device: str) -> None:
        self._points_ND = torch.from_numpy(points_ND).to(device)
        self._minus_half_N = torch.from_numpy((-0.5 * norms_N).astype(np.float32)).to(device)

    def among(self, rows_M: np.ndarray) -> np.ndarray:
        """Scores of rows among each other, float32 [M, M]: row j holds those of centre j for every x."""
        index = torch.from_numpy(rows_M).to(self._points_ND.device)
        points_MD = self._points_ND[index]
        return _scores(self._minus_half_N[index, None], points_MD, points_MD.T).cpu().numpy()

    def close_pairs(
        self, centres_B: np.ndarray, bounds_N: np.ndarray, margin: float
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Pairs (row, position in ``centres_B``) whose score is beyond the row's bound and within ``margin`` of the
        row's best; in blocks of rows.
        """
        device = self._points_ND.device
        index = torch.from_numpy(centres_B).to(device)
        centres_DB, minus_half_B = self._points_ND[index].T.contiguous(), self._minus_half_N[index]
        bounds = torch.from_numpy(bounds_N).to(device)
        size = max(1, _SCORES_AT_ONCE // len(centres_B))
        for start in range(0, len(self._points_ND), size):
            block = slice(start, start + size)
            scores_RB = _scores(minus_half_B, self._points_ND[block], centres_DB)
            best_R = scores_RB.amax(dim=1)
            hits_H = (best_R > bounds[block]).nonzero()[:, 0]
            if len(hits_H):
                least_H = torch.maximum(best_R[hits_H] - margin, bounds[block][hits_H])
                found = (scores_RB[hits_H] >= least_H[:, None]).nonzero()
                yield (hits_H[found[:, 0]] + start).cpu().numpy(), found[:, 1].cpu().numpy()


def _scores(minus_half: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """The product in full float32: TF32 and bfloat16, which a process may have allowed, break the error bound."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        return torch.addmm(minus_half, left, right)
    finally:
        torch.set_float32_matmul_precision(before)
