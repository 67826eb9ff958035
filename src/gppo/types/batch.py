"""A batch: what one update learns from. Token fields are padded on the right and hold responses only."""

from dataclasses import dataclass, fields, replace

import numpy as np


@dataclass(frozen=True, slots=True)
class Batch:
    """B responses with their advantages.

    Args:
        prompt_ids: B arrays int64 [S_b], ragged.
        response_ids_BT: int64 [B, T], 0 where padded.
        mask_BT: bool [B, T], True on tokens that exist. Every row has at least one.
        sampled_logprobs_BT: float32 [B, T], nats, 0 where padded.
        advantages_B: float64 [B].
        policy_row_B: bool [B], False where the row has no part in the policy gradient (overlong filter, infra).
        correct_B: bool [B], rows of the LM loss: fully correct responses.
        group_B: int64 [B], index of the row's problem; rows of one problem share it.
    """

    prompt_ids: tuple[np.ndarray, ...]
    response_ids_BT: np.ndarray
    mask_BT: np.ndarray
    sampled_logprobs_BT: np.ndarray
    advantages_B: np.ndarray
    policy_row_B: np.ndarray
    correct_B: np.ndarray
    group_B: np.ndarray

    def __len__(self) -> int:
        return len(self.prompt_ids)

    @property
    def lengths_B(self) -> np.ndarray:
        """Response lengths in tokens, int64 [B]."""
        return self.mask_BT.sum(axis=1)

    def rows(self, index: np.ndarray) -> "Batch":
        """The given rows, in the given order, cut to their longest response."""
        index = np.asarray(index)
        longest = int(self.lengths_B[index].max(initial=0))
        taken = {
            f.name: getattr(self, f.name)[index][:, :longest]
            if f.name.endswith("_BT")
            else getattr(self, f.name)[index]
            for f in fields(self)
            if f.name != "prompt_ids"
        }
        return replace(self, prompt_ids=tuple(self.prompt_ids[i] for i in index), **taken)
