"""What our trainer decides about the rows of a batch: plain arrays, no verl."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gppo.objectives import group_advantages, zero_advantage_groups


@dataclass(frozen=True, slots=True)
class Rows:
    """Responses as verl's trainer has them, in its order.

    Args:
        uids: B names of groups.
        rewards: float64 [B].
        correct: bool [B], right, whole and in the asked format.
        lengths: int [B], tokens.
        judged: for each response what the reward manager said beside the reward.
    """

    uids: list[str]
    rewards: np.ndarray
    correct: np.ndarray
    lengths: np.ndarray
    judged: list[dict[str, Any]]

    @property
    def verdicts(self) -> list[str]:
        """B words of the judges."""
        return [str(item.get("verdict", "")) for item in self.judged]

    @property
    def truncated(self) -> np.ndarray:
        """bool [B], cut at the limit."""
        return np.array([bool(item.get("truncated", False)) for item in self.judged])


def grouped(rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rewards [P, G] with NaN where a group lacks a response, and each row's group [B] and place in it [B]."""
    group_of: dict[str, int] = {}
    group_B = np.array([group_of.setdefault(uid, len(group_of)) for uid in rows.uids], dtype=int)
    sizes = np.zeros(len(group_of), dtype=int)
    place_B = np.zeros(len(group_B), dtype=int)
    for b, group in enumerate(group_B):
        place_B[b] = sizes[group]
        sizes[group] += 1
    rewards_PG = np.full((len(sizes), int(sizes.max(initial=0))), np.nan)
    rewards_PG[group_B, place_B] = rows.rewards
    return rewards_PG, group_B, place_B


def without_advantage(rows: Rows) -> np.ndarray:
    """bool [B]: rows of groups whose rewards are all equal."""
    rewards_PG, group_B, _ = grouped(rows)
    return zero_advantage_groups(rewards_PG)[group_B]


def row_advantages(rows: Rows, std: str) -> np.ndarray:
    """float64 [B]; a response that was lost counts for nobody's mean."""
    rewards_PG, group_B, place_B = grouped(rows)
    return group_advantages(rewards_PG, std)[group_B, place_B]


def lm_row_weights(
    correct_B: np.ndarray, tokens_B: np.ndarray, ranks: int, mini_batch: int, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """alpha / N_correct for the tokens of each correct row, N_correct counted over the row's mini-batch.

    verl gives each rank B / ranks rows in a row, and each rank cuts them into pieces of mini_batch / ranks; the pieces
    with one number are a mini-batch.

    Returns:
        float64 [B], and bool [mini-batches], which have a correct row.
    """
    share, piece = len(correct_B) // ranks, mini_batch // ranks
    mini_B = np.arange(len(correct_B)) % share // piece
    counts = np.bincount(mini_B, weights=correct_B * tokens_B)
    return np.where(correct_B, alpha / np.maximum(counts, 1)[mini_B], 0.0), counts > 0


def rows_metrics(rows: Rows, expected: int) -> dict[str, float]:
    """A step's numbers over all its responses, under the names of our own engine."""
    rewards_PG, group_B, _ = grouped(rows)
    mixed_P = ~zero_advantage_groups(rewards_PG)
    right_P = np.array([bool(rows.correct[group_B == p].all()) for p in range(len(mixed_P))])
    count = max(len(rows.uids), 1)
    return {
        "reward_mean": float(rows.rewards.mean()),
        "reward_std": float(rows.rewards.std()),
        "correct_share": float(rows.correct.mean()),
        "unparsable_share": rows.verdicts.count("unparsable") / count,
        "timeout_share": rows.verdicts.count("timeout") / count,
        "infra_share": 1 - len(rows.uids) / expected,
        "truncated_share": float(rows.truncated.mean()),
        "length_mean": float(rows.lengths.mean()),
        "length_p95": float(np.percentile(rows.lengths, 95)),
        "response_tokens": float(rows.lengths.sum()),
        "groups_mixed": float(mixed_P.sum()),
        "groups_all_correct": float((~mixed_P & right_P).sum()),
        "groups_all_wrong": float((~mixed_P & ~right_P).sum()),
    }
