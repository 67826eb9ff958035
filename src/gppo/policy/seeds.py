"""The seed of a step: what torch draws in it (dropout) depends on the run's seed and the step alone."""

import numpy as np
import torch


def seed_step(seed: int, step: int) -> None:
    """Seed torch's generators for a step, so that a resumed run needs no saved state of theirs.

    Args:
        seed: the run's.
        step: steps that are done.
    """
    state = np.random.SeedSequence([seed, step, 0x57E9]).generate_state(1, dtype=np.uint64)
    torch.manual_seed(int(state[0]) >> 1)
