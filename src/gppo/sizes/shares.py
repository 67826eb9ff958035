"""How the forward passes of one optimizer step are shared out to ranks."""

from collections.abc import Callable

import numpy as np


def shared_passes(cut: Callable[[int], list[np.ndarray]], budget: int, ranks: int) -> list[list[np.ndarray]]:
    """Rounds of one pass a rank: as few as the budget allows, and then as even as they get.

    Ranks meet in every layer of a pass, so a round takes as long as its longest pass. The smallest budget that needs no
    more rounds is found by bisection.

    Args:
        cut: rows cut for a token budget: index arrays, longest first.
        budget: tokens of a pass.
        ranks: how many.

    Returns:
        for each round ``ranks`` index arrays; in the last round some may be empty.
    """
    rounds = -(-len(cut(budget)) // ranks)
    low, high = 0, budget
    while high - low > 1:
        middle = (low + high) // 2
        if len(cut(middle)) <= rounds * ranks:
            high = middle
        else:
            low = middle
    parts = cut(high)
    parts += [np.array([], dtype=np.int64)] * (rounds * ranks - len(parts))
    return [parts[i : i + ranks] for i in range(0, len(parts), ranks)]
