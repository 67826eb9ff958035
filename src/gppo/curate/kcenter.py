"""K-Center-Greedy: k points such that no other point is far from all of them.

The greedy algorithm (Gonzalez 1985, https://doi.org/10.1016/0304-3975(85)90224-5) takes a first point, then again and
again the point that is farthest from all points taken so far. Its covering radius is at most twice the best one. Done
plainly, each of k centres costs one pass over N points of D numbers, which is bound by memory: 4 N D bytes a centre.

Here the same centres come from far fewer passes, in rounds. A round begins with every distance up to date:

1. S is the M points that are farthest, and tau the distance of the farthest point outside S.
2. Greedy runs inside S alone. Distances only ever shrink, so a point outside S never rises above tau: while the
   farthest point of S is beyond tau it is the farthest of all. At tau itself the lower index decides.
3. When that ends, all N points meet the round's centres in one matrix product, which is bound by arithmetic and not by
   memory.

Which distance is smaller is never decided by a matrix product in float32. Let s(x, c) = x.c - |c|^2 / 2, computed with
an error of at most delta. Then |x - c|^2 < d(x) can hold only where s(x, c) > (|x|^2 - d(x)) / 2 - delta, and of
several centres only those can be the nearest whose s lies within 2 delta of the largest. These few pairs are computed
as sums of squared differences in float64, in one order of summation whatever else is computed beside them. So every
distance that is kept, and with it every choice, is the one that the plain algorithm makes in float64.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gppo.curate._kcenter_state import State, key_of, load, save
from gppo.types import UserError

_SMALLEST, _LARGEST = 256, 4096  # points of S
_PAIRS_AT_ONCE = 8192
_LARGEST_SQUARE = 1e30
_UNIT = 2.0**-24  # float32 rounds to within this share
_TINY = 2.0**-125  # and to within this, where products underflow
_CHOSEN = -1.0  # "distance" of a centre: it is never taken again

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Centres:
    """What was chosen.

    Args:
        indices_K: int64 [K], rows of the points, in the order of choice.
        distances_K: float64 [K], how far each was from the nearest earlier one; infinite for the first. Never grows.
        radius: the largest distance of a point to its nearest centre.
    """

    indices_K: np.ndarray
    distances_K: np.ndarray
    radius: float


def k_center_greedy(
    points_ND: np.ndarray,
    k: int,
    *,
    first: int = 0,
    device: str = "cpu",
    checkpoint: Path | None = None,
    save_seconds: float = 30.0,
    on_progress: OnProgress = lambda done, total: None,
) -> Centres:
    """Choose k of N points; of several that are equally far the one with the lowest index.

    The choice is the plain algorithm's in float64, on every device.

    Args:
        points_ND: float32 [N, D], in memory or memory-mapped.
        k: how many, 1 <= k <= N.
        first: the point to begin with.
        device: where matrix products are made, "cpu" or a GPU's name; the points must fit there.
        checkpoint: file to keep the state in, and to go on from where it belongs to the same points; removed by whoever
            has stored the result.
        save_seconds: time between two states.
        on_progress: told (centres, k) after each round.

    Raises:
        UserError: k or ``first`` is out of range, or the points are not finite.
    """
    points_ND = np.ascontiguousarray(points_ND, dtype=np.float32)
    if not (1 <= k <= len(points_ND) and 0 <= first < len(points_ND)):
        raise UserError(f"K-Center-Greedy: {k} centres from point {first} do not fit {len(points_ND)} points")
    key = key_of(points_ND, first) if checkpoint else ""
    found = load(checkpoint, key) if checkpoint else None
    if found is None or len(found.chosen_K) > k:
        found = _beginning(points_ND, first)
    search = _Search(points_ND, found, device)
    saved = time.monotonic()
    while len(search.chosen) < k:
        search.round(k)
        on_progress(len(search.chosen), k)
        if checkpoint and time.monotonic() - saved > save_seconds:
            save(checkpoint, key, search.state())
            saved = time.monotonic()
    radius = float(np.sqrt(max(search.squared_N.max(), 0.0)))
    return Centres(np.array(search.chosen, dtype=np.int64), np.sqrt(np.array(search.squared)), radius)


def squared_distances(points_ND: np.ndarray, left_M: np.ndarray, right_M: np.ndarray) -> np.ndarray:
    """Squared distances of M pairs of rows, float64 [M]; each is summed by itself, in numpy's pairwise order."""
    found = np.empty(len(left_M))
    for start in range(0, len(left_M), _PAIRS_AT_ONCE):
        part = slice(start, start + _PAIRS_AT_ONCE)
        gap = points_ND[left_M[part]].astype(np.float64) - points_ND[right_M[part]]
        found[part] = np.add.reduce(gap * gap, axis=1)
    return found


def _beginning(points_ND: np.ndarray, first: int) -> State:
    everything = np.arange(len(points_ND))
    squared_N = squared_distances(points_ND, everything, np.full(len(everything), first))
    squared_N[first] = _CHOSEN
    return State(np.array([first]), np.array([np.inf]), squared_N, _SMALLEST)


def squared_lengths(points_ND: np.ndarray) -> np.ndarray:
    """Squared lengths of rows, float64 [N]."""
    found = np.empty(len(points_ND))
    for start in range(0, len(points_ND), _PAIRS_AT_ONCE):
        block = points_ND[start : start + _PAIRS_AT_ONCE].astype(np.float64)
        found[start : start + len(block)] = np.add.reduce(block * block, axis=1)
    return found


class _Search:
    """What was chosen, and every point's exact squared distance to it."""

    def __init__(self, points_ND: np.ndarray, found: State, device: str) -> None:
        from gppo.curate._kcenter_product import Product  # torch, which no other part of curation needs

        self._points_ND = points_ND
        self._norms_N = squared_lengths(points_ND)
        largest = float(self._norms_N.max())
        if not largest < _LARGEST_SQUARE:  # also where it is NaN
            raise UserError("K-Center-Greedy: the points hold NaN, infinities or numbers beyond 1e15; normalise them")
        # For any order of summation |fl(s) - s| <= gamma_D (|x||c| + |c|^2 / 2); 8 more terms cover the float64 side.
        terms = points_ND.shape[1] + 8
        self._delta = terms * _UNIT / (1 - terms * _UNIT) * 1.5 * largest + terms * _TINY
        self._product = Product(points_ND, self._norms_N, device)
        self.squared_N = found.squared_N
        self.chosen: list[int] = found.chosen_K.tolist()
        self.squared: list[float] = found.squared_K.tolist()
        self._wanted = found.wanted

    def state(self) -> State:
        return State(np.array(self.chosen), np.array(self.squared), self.squared_N, self._wanted)

    def round(self, k: int) -> None:
        """Choose as many centres as the farthest points alone can tell, then bring every distance up to date."""
        candidates, limit = self._farthest()
        before = len(self.chosen)
        self._within(candidates, limit, k)
        made = len(self.chosen) - before
        self._update(np.array(self.chosen[before:], dtype=np.int64))
        self._wanted = int(np.clip(2 * made if made * 2 > self._wanted else self._wanted // 2, _SMALLEST, _LARGEST))

    def _farthest(self) -> tuple[np.ndarray, tuple[float, int]]:
        """The rows of S, ascending, and the best point outside it as (squared distance, row)."""
        order = np.argsort(-self.squared_N, kind="stable")  # equally far points by index
        inside = np.sort(order[: self._wanted])
        if len(order) <= self._wanted:
            return inside, (-np.inf, -1)
        next_one = int(order[self._wanted])
        return inside, (float(self.squared_N[next_one]), next_one)

    def _within(self, rows_M: np.ndarray, limit: tuple[float, int], k: int) -> None:
        """Greedy among the rows, as long as the farthest of them comes before ``limit``."""
        squared_M = self.squared_N[rows_M]
        scores_MM = self._product.among(rows_M)
        bounds_M = self._bounds(rows_M, squared_M)
        while len(self.chosen) < k:
            at = int(squared_M.argmax())  # the first of several: rows ascend
            farthest = float(squared_M[at])
            if (-farthest, rows_M[at]) >= (-limit[0], limit[1]):
                break
            self.chosen.append(int(rows_M[at]))
            self.squared.append(farthest)
            squared_M[at] = _CHOSEN
            near = np.flatnonzero(scores_MM[at] > bounds_M)
            exact = squared_distances(self._points_ND, rows_M[near], np.full(len(near), rows_M[at]))
            squared_M[near] = np.minimum(squared_M[near], exact)
            bounds_M[near] = self._bounds(rows_M[near], squared_M[near])
        self.squared_N[rows_M] = squared_M

    def _update(self, centres_B: np.ndarray) -> None:
        """Bring every distance up to date with new centres."""
        bounds_N = self._bounds(slice(None), self.squared_N)
        for rows, columns in self._product.close_pairs(centres_B, bounds_N, 4 * self._delta):
            exact = squared_distances(self._points_ND, rows, centres_B[columns])
            np.minimum.at(self.squared_N, rows, exact)

    def _bounds(self, rows: Any, squared: np.ndarray) -> np.ndarray:
        """Scores up to which a centre is no nearer, float32, rounded down; infinite where nothing is nearer than 0."""
        exact = (self._norms_N[rows] - squared) / 2 - self._delta
        rounded = np.nextafter(exact.astype(np.float32), np.float32(-np.inf))
        return np.where(squared > 0, rounded, np.float32(np.inf))
