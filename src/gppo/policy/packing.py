"""Which rows share a forward pass."""

import numpy as np


def micro_batches(lengths_B: np.ndarray, token_budget: int) -> list[np.ndarray]:
    """Rows grouped by similar length so that rows x longest stays within the budget.

    Longest first: if memory runs out, it does so at once. A row longer than the budget gets a micro-batch of its own.

    Args:
        lengths_B: tokens of each row, prompt included.
        token_budget: tokens of one forward pass, padding included.

    Returns:
        Index arrays that together hold every row once.
    """
    order_B = np.argsort(-lengths_B, kind="stable")
    parts: list[list[int]] = []
    for row in order_B:
        if parts and (len(parts[-1]) + 1) * lengths_B[parts[-1][0]] <= token_budget:
            parts[-1].append(int(row))
        else:
            parts.append([int(row)])
    return [np.asarray(part) for part in parts]
