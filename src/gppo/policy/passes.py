"""The forward passes of one optimizer step: all of them, or this rank's share."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from gppo.policy.model import Policy
from gppo.policy.world import World
from gppo.sizes import shared_passes


def passes(
    policy: Policy, world: World, prompts: Sequence[np.ndarray], lengths_B: np.ndarray, token_budget: int
) -> list[np.ndarray]:
    """B rows cut into passes as by ``Policy.micro_batches``; of several ranks, this one's.

    Every rank gets as many, because they meet in each layer of a pass: some may be empty, and are for ``idle``. The
    rows must be the same on all ranks.
    """
    cut = partial(policy.micro_batches, prompts, lengths_B)
    if world.size == 1:
        return cut(token_budget)
    return [one_each[world.rank] for one_each in shared_passes(cut, token_budget, world.size)]


def idle(policy: Policy) -> None:
    """A pass over one token that adds nothing to the gradient, where other ranks have rows."""
    row, mask = np.zeros(2, dtype=np.int64), np.array([False, True])
    batch = policy.tokens_from_masks([row], [mask])
    if torch.is_grad_enabled():
        policy.backward_N(batch, lambda logprobs_n, _part: torch.zeros_like(logprobs_n))
    else:
        policy.logprobs_N(batch)
