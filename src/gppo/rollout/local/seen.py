"""Which tokens each row holds already, for the repetition penalty."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class Seen:
    """One flag for each slot and token; a byte each, so 256 slots of 152K tokens take 39 MB.

    Args:
        slots: rows side by side.
        vocabulary: tokens that a model can say.
        device: where the draws are made.
    """

    def __init__(self, slots: int, vocabulary: int, device: torch.device) -> None:
        self.flags_SV = torch.zeros(slots, vocabulary, dtype=torch.bool, device=device)

    def start(self, slots: np.ndarray, prompts: Sequence[np.ndarray]) -> None:
        """New rows are in these slots: they hold their prompts."""
        for slot, prompt_ids in zip(slots.tolist(), prompts, strict=True):
            self.flags_SV[slot] = False
            self.flags_SV[slot, torch.from_numpy(prompt_ids).to(self.flags_SV.device)] = True

    def rows(self, slots: np.ndarray) -> Tensor:
        """The flags of these slots, [len(slots), V]."""
        return self.flags_SV[torch.from_numpy(slots).to(self.flags_SV.device)]

    def with_tokens(self, tokens_B: Tensor) -> Tensor:
        """The flags of slots 0 .. B - 1 after these tokens, one a row. In place, so that it fits into a CUDA graph."""
        flags_BV = self.flags_SV[: len(tokens_B)]
        return flags_BV.scatter_(1, tokens_B[:, None], True)

    def keep(self, order: np.ndarray) -> None:
        """Go on with these slots, as slots 0, 1, ..."""
        self.flags_SV[: len(order)] = self.rows(order)
