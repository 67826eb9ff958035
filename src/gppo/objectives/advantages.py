"""Group advantages: how much better a response did than the others to the same prompt."""

import numpy as np

from gppo.types import UserError

STDS = ("population", "sample", "none")


def group_advantages(rewards_PG: np.ndarray, std: str = "population") -> np.ndarray:
    """A = (R - mean(R)) / std(R) over the responses of one prompt.

    GRPO, https://arxiv.org/abs/2402.03300, section 4.1; with std "none", Dr. GRPO
    (https://arxiv.org/abs/2503.20783).

    Args:
        rewards_PG: [P, G]; NaN where a response could not be judged: left out of mean and std.
        std: "population" divides squares by G, "sample" by G - 1, "none" only subtracts the mean.

    Returns:
        float64 [P, G]; 0 for NaN rewards, and exactly 0 for a whole group whose rewards are all equal.

    Raises:
        UserError: unknown ``std``.
    """
    if std not in STDS:
        raise UserError(f"advantage_std '{std}' is not known: use one of {', '.join(STDS)}.")
    rewards_PG = np.asarray(rewards_PG, dtype=np.float64)
    valid_PG = ~np.isnan(rewards_PG)
    signal_P1 = ~zero_advantage_groups(rewards_PG)[:, None]
    count_P1 = valid_PG.sum(axis=1, keepdims=True)
    mean_P1 = np.where(valid_PG, rewards_PG, 0.0).sum(axis=1, keepdims=True) / np.maximum(count_P1, 1)
    centred_PG = np.where(valid_PG & signal_P1, rewards_PG - mean_P1, 0.0)
    if std == "none":
        return centred_PG
    degrees_P1 = count_P1 - (std == "sample")
    std_P1 = np.sqrt((centred_PG**2).sum(axis=1, keepdims=True) / np.maximum(degrees_P1, 1))
    return centred_PG / np.where(signal_P1, std_P1, 1.0)


def zero_advantage_groups(rewards_PG: np.ndarray) -> np.ndarray:
    """Groups that teach nothing: fewer than two valid rewards, or all of them equal.

    Equal means within 1e-9 of the largest magnitude (at least 1): sums of reward parts that differ only by rounding
    are equal, or the division by their spread would turn rounding into advantages of +-1.

    Args:
        rewards_PG: [P, G], NaN where a response could not be judged.

    Returns:
        bool [P].
    """
    rewards_PG = np.asarray(rewards_PG, dtype=np.float64)
    valid_PG = ~np.isnan(rewards_PG)
    highest_P = np.where(valid_PG, rewards_PG, -np.inf).max(axis=1, initial=-np.inf)
    lowest_P = np.where(valid_PG, rewards_PG, np.inf).min(axis=1, initial=np.inf)
    scale_P = np.where(valid_PG, np.abs(rewards_PG), 0.0).max(axis=1, initial=1.0)
    return highest_P - lowest_P <= 1e-9 * scale_P
