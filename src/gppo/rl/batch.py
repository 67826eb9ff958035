"""From judged groups to the batch that an update learns from."""

from collections.abc import Sequence

import numpy as np

from gppo.config.rl import RLConfig
from gppo.objectives import group_advantages, zero_advantage_groups
from gppo.types import Batch, Group


def informative(groups: Sequence[Group]) -> list[Group]:
    """Groups whose rewards differ: the others have no advantage and teach nothing."""
    if not groups:
        return []
    dead_P = zero_advantage_groups(np.stack([group.rewards_G for group in groups]))
    return [group for group, dead in zip(groups, dead_P, strict=True) if not dead]


def make_batch(kept: Sequence[Group], all_correct: Sequence[Group], config: RLConfig) -> Batch | None:
    """Rows with advantages, padded.

    Args:
        kept: groups that take part in the policy gradient.
        all_correct: dropped groups whose every answer was correct; the LM loss takes them where
            ``lm_loss.include_dropped_groups`` says so.
        config: advantages, overlong filter.

    Returns:
        None where no row is left. Rows are in the order of ``kept``, then of ``all_correct``.
    """
    extra = list(all_correct) if config.lm_loss.include_dropped_groups and config.lm_loss.alpha > 0 else []
    groups = [*kept, *extra]
    if not groups:
        return None
    rollouts = [rollout for group in groups for rollout in group.rollouts]
    rewards_PG = np.stack([group.rewards_G for group in groups])
    advantages_PG = group_advantages(rewards_PG, std=config.advantage_std)
    learns_PG = ~np.isnan(rewards_PG) & (np.arange(len(groups)) < len(kept))[:, None]
    learns_B = learns_PG.reshape(-1)
    if config.overlong.filter:
        learns_B &= ~np.array([rollout.truncated for rollout in rollouts])
    lengths_B = np.array([len(rollout.response_ids) for rollout in rollouts])
    mask_BT = np.arange(lengths_B.max())[None] < lengths_B[:, None]
    ids_BT = np.zeros(mask_BT.shape, dtype=np.int64)
    ids_BT[mask_BT] = np.concatenate([rollout.response_ids for rollout in rollouts])
    sampled_BT = np.zeros(mask_BT.shape, dtype=np.float32)
    sampled_BT[mask_BT] = np.concatenate([rollout.sampled_logprobs for rollout in rollouts])
    return Batch(
        prompt_ids=tuple(rollout.prompt_ids for rollout in rollouts),
        response_ids_BT=ids_BT,
        mask_BT=mask_BT,
        sampled_logprobs_BT=sampled_BT,
        advantages_B=advantages_PG.reshape(-1),
        policy_row_B=learns_B,
        correct_B=np.concatenate([group.correct_G for group in groups]),
        group_B=np.repeat(np.arange(len(groups)), rewards_PG.shape[1]),
    )


def mini_batches(batch: Batch, prompts: int, *, seed: int, step: int, epoch: int) -> list[np.ndarray]:
    """Rows of each optimizer step: groups in a seeded order, ``prompts`` groups at a time, groups never split.

    Where groups were dropped there are fewer mini-batches, and the last may be smaller.
    """
    order_P = np.random.default_rng([seed, step, epoch]).permutation(int(batch.group_B.max()) + 1)
    return [np.flatnonzero(np.isin(batch.group_B, order_P[i : i + prompts])) for i in range(0, len(order_P), prompts)]
