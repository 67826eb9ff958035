"""K-Center-Greedy in rounds against the plain algorithm, which is written here once more in a few lines of float64."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from gppo.curate.kcenter import k_center_greedy
from gppo.types import UserError


def plain(points_ND: np.ndarray, k: int, first: int = 0) -> list[int]:
    """One pass over all points for each centre, in float64; of equally far ones the first."""
    wide_ND = points_ND.astype(np.float64)
    squared_N = ((wide_ND - wide_ND[first]) ** 2).sum(axis=1)
    squared_N[first] = -1
    chosen = [first]
    while len(chosen) < k:
        chosen.append(int(squared_N.argmax()))
        squared_N = np.minimum(squared_N, ((wide_ND - wide_ND[chosen[-1]]) ** 2).sum(axis=1))
        squared_N[chosen] = -1
    return chosen


def clusters(rng: np.random.Generator, count: int, centres: int, dimensions: int, spread: float) -> np.ndarray:
    middle_KD = rng.normal(size=(centres, dimensions))
    points_ND = middle_KD[rng.integers(centres, size=count)] + spread * rng.normal(size=(count, dimensions))
    return (points_ND / np.linalg.norm(points_ND, axis=1, keepdims=True)).astype(np.float32)


def test_by_hand():
    line = np.array([[0], [1], [2], [6], [10], [5]], dtype=np.float32)
    # 10 is farthest from 0; then 5 is 5 from both and 6 only 4; then 2 is 2 from 0, and 3 from 5.
    found = k_center_greedy(line, 4)
    assert found.indices_K.tolist() == [0, 4, 5, 2]
    assert found.distances_K.tolist() == [np.inf, 10, 5, 2]
    assert found.radius == 1
    # From 5 (row 5): 0 and 10 are both 5 away, the lower row first.
    assert k_center_greedy(line, 3, first=5).indices_K.tolist() == [5, 0, 4]


@pytest.mark.parametrize("spread", [0.0, 1e-4, 0.3, 3.0])
def test_two_thousand_points_like_the_plain_algorithm(spread):
    points_ND = clusters(np.random.default_rng(3), 2000, 40, 48, spread)
    found = k_center_greedy(points_ND, 700)
    assert found.indices_K.tolist() == plain(points_ND, 700)
    wide_ND = points_ND.astype(np.float64)
    gaps_NK = ((wide_ND[:, None, :] - wide_ND[None, found.indices_K[:20], :]) ** 2).sum(axis=2)
    assert k_center_greedy(points_ND, 20).radius == pytest.approx(np.sqrt(gaps_NK.min(axis=1).max()), abs=1e-12)
    assert (np.diff(found.distances_K[1:]) <= 0).all()


def test_more_ties_than_a_round_looks_at():
    """A grid: thousands of equal distances, which float64 computes without rounding."""
    side = np.arange(16)
    grid_ND = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3).astype(np.float32)
    grid_ND = np.random.default_rng(0).permutation(grid_ND)
    assert k_center_greedy(grid_ND, 1200).indices_K.tolist() == plain(grid_ND, 1200)


def test_far_from_the_origin_a_float32_product_says_nothing():
    """Distances of 1e-3 at a distance of 1e4: the product's error is larger than every one of them."""
    rng = np.random.default_rng(5)
    points_ND = (1e4 + 1e-3 * rng.integers(-8, 9, size=(600, 8))).astype(np.float32)
    assert k_center_greedy(points_ND, 200).indices_K.tolist() == plain(points_ND, 200)


@pytest.mark.parametrize("allowed", ["high", "medium"])
def test_coarser_products_that_a_process_allows_change_nothing(allowed):
    points_ND = clusters(np.random.default_rng(6), 1500, 30, 64, 0.2)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(allowed)
    try:
        assert k_center_greedy(points_ND, 500).indices_K.tolist() == plain(points_ND, 500)
        assert torch.get_float32_matmul_precision() == allowed
    finally:
        torch.set_float32_matmul_precision(before)


def test_all_points_are_taken_once_even_where_they_are_one():
    points_ND = np.ones((700, 5), dtype=np.float32)
    assert k_center_greedy(points_ND, 700, first=2).indices_K.tolist() == [2, 0, 1, *range(3, 700)]


numbers = st.one_of(
    st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, width=32), st.floats(-(2.0**-100), 2.0**-100, width=32)
)


@settings(max_examples=150, deadline=None)
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=24), elements=numbers), st.data())
def test_any_points_like_the_plain_algorithm(points_ND, data):
    count = len(points_ND)
    k, first = data.draw(st.integers(1, count)), data.draw(st.integers(0, count - 1))
    assert k_center_greedy(points_ND, k, first=first).indices_K.tolist() == plain(points_ND, k, first)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e16])
def test_points_without_distances_are_refused(bad):
    points_ND = np.zeros((4, 2), dtype=np.float32)
    points_ND[1, 1] = bad
    with pytest.raises(UserError, match="normalise"):
        k_center_greedy(points_ND, 2)


@pytest.mark.parametrize(("k", "first"), [(0, 0), (5, 0), (2, 4), (2, -1)])
def test_what_does_not_fit_is_refused(k, first):
    with pytest.raises(UserError, match="do not fit 4 points"):
        k_center_greedy(np.zeros((4, 2), dtype=np.float32), k, first=first)


KILLED = """
import os, signal, sys
import numpy as np
from pathlib import Path
from gppo.curate.kcenter import k_center_greedy

def stop(done, total):
    if done > 500:
        os.kill(os.getpid(), signal.SIGKILL)

points = np.load(sys.argv[1], mmap_mode="r")
k_center_greedy(points, 1500, checkpoint=Path(sys.argv[2]), save_seconds=0, on_progress=stop)
"""


def test_killed_it_goes_on_to_the_same_centres(tmp_path):
    points_ND = clusters(np.random.default_rng(8), 3000, 60, 24, 0.5)
    np.save(tmp_path / "points.npy", points_ND)
    state = tmp_path / "state.npz"
    command = [sys.executable, "-c", textwrap.dedent(KILLED), tmp_path / "points.npy", state]
    assert subprocess.run(command, check=False).returncode == -9
    done: list[int] = []
    whole = k_center_greedy(points_ND, 1500)
    resumed = k_center_greedy(points_ND, 1500, checkpoint=state, on_progress=lambda now, _: done.append(now))
    assert resumed.indices_K.tolist() == whole.indices_K.tolist()
    assert resumed.distances_K.tolist() == whole.distances_K.tolist()
    assert done[0] > 500  # it did not begin anew
    other = points_ND.copy()
    other[7] *= 0.5
    assert k_center_greedy(other, 900, checkpoint=state).indices_K.tolist() == plain(other, 900)
