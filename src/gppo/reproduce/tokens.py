"""Which tokens clipping is about: how many lie beyond each side of its range, how uncertain they are, how they pull."""

from pathlib import Path

import numpy as np

from gppo.run.rollouts import RolloutRow, read_rollouts, rollout_steps

#: The clip range that tokens are sorted by: the paper's, whatever the unit's objective uses.
LOW, HIGH = np.log1p(-0.2), np.log1p(0.28)
#: The share of a step's tokens that counts as uncertain: those with the highest entropy.
UNCERTAIN = 0.2
SUMS = ("tokens", "pull", "entropy", "probability", "uncertain")
REGIONS = ("A > 0, above", "A > 0, below", "A < 0, above", "A < 0, below", "within")


def token_shares(rollouts: Path) -> list[dict[str, float | str]]:
    """One line a region of the clip range, over all steps; tokens as the last update of their step saw them.

    Returns:
        region: one of REGIONS; Clip-Higher drops "A > 0, above" and "A < 0, below".
        tokens: how many.
        pull: the sum of |c| over them, c the coefficient of their log-probability's gradient.
        entropy: their sum, nats.
        probability: the sum of the probabilities with which they were sampled.
        uncertain: how many are among the UNCERTAIN share of their step's tokens with the highest entropy.
    """
    sums = {region: dict.fromkeys(SUMS, 0.0) for region in REGIONS}
    for step in rollout_steps(rollouts):
        rows = [row for row in read_rollouts(rollouts, step) if row.coefficient is not None and row.advantage != 0]
        if not rows:
            continue
        of_rows = zip(*map(_flat, rows), strict=True)
        log_ratio, advantage, old, entropy, pull = (np.concatenate(parts) for parts in of_rows)
        uncertain = entropy >= np.quantile(entropy, 1 - UNCERTAIN)
        above, below = log_ratio > HIGH, log_ratio < LOW
        chosen = [side & sign for sign in (advantage > 0, advantage < 0) for side in (above, below)]
        for region, those in zip(REGIONS, [*chosen, ~(above | below)], strict=True):
            found = sums[region]
            found["tokens"] += those.sum()
            found["pull"] += pull[those].sum()
            found["entropy"] += entropy[those].sum()
            found["probability"] += np.exp(old[those]).sum()
            found["uncertain"] += (uncertain & those).sum()
    return [{"region": region, **{key: float(value) for key, value in found.items()}} for region, found in sums.items()]


def _flat(row: RolloutRow) -> tuple[np.ndarray, ...]:
    """Log-ratio, advantage, old logprob, entropy and |c| of a response's tokens, each [T]."""
    assert row.update_logprobs is not None
    assert row.entropy is not None
    assert row.coefficient is not None
    old = row.sampled_logprobs if row.old_logprobs is None else row.old_logprobs
    advantage = np.full(len(old), row.advantage)
    return row.update_logprobs - old, advantage, old, row.entropy, np.abs(row.coefficient)
