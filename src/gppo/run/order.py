"""Which items a step sees: an endless sequence of seeded permutations, read by position."""

from collections.abc import Sequence

import numpy as np


def permuted_indices(start: int, count: int, size: int, seed: Sequence[int]) -> np.ndarray:
    """Items at positions start .. start + count - 1 of the sequence, int64 [count].

    Every epoch of ``size`` items is a permutation of its own. The order depends on the arguments alone, so a resumed
    run needs its position and nothing else.

    Args:
        start: first position.
        count: how many positions.
        size: items in the set.
        seed: of the order.
    """
    positions = np.arange(start, start + count)
    epochs, within = np.divmod(positions, size)
    orders = {int(e): np.random.default_rng([*seed, int(e)]).permutation(size) for e in np.unique(epochs)}
    return np.array([orders[int(e)][w] for e, w in zip(epochs, within, strict=True)], dtype=np.int64)
