"""What a step leaves behind: its line of metrics and its saved rollouts."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from gppo.rl.batch import informative
from gppo.rl.collect import Experience
from gppo.rl.update import Update
from gppo.run.rollouts import RolloutRow
from gppo.types import Batch, Group, Message
from gppo.verify.thinking import format_kept


def step_metrics(experience: Experience, opened: bool) -> dict[str, float]:
    """Rewards, verdicts and lengths over all responses of a step, dropped groups included."""
    groups = experience.groups
    rollouts = [r for group in groups for r in group.rollouts]
    statuses = [v.status for group in groups for v in group.verdicts]
    rewards = np.concatenate([group.rewards_G for group in groups])
    judged = ~np.isnan(rewards)
    correct = np.concatenate([group.correct_G for group in groups])
    lengths = np.array([len(r.response_ids) for r in rollouts])

    def share(status: str) -> float:
        return sum(s == status for s in statuses) / len(statuses)

    return {
        "reward_mean": float(rewards[judged].mean()) if judged.any() else float("nan"),
        "reward_std": float(rewards[judged].std()) if judged.any() else float("nan"),
        "correct_share": float(correct[judged].mean()) if judged.any() else float("nan"),
        "unparsable_share": share("unparsable"),
        "timeout_share": share("timeout"),
        "infra_share": share("infra"),
        "truncated_share": float(np.mean([r.truncated for r in rollouts])),
        "thinking_share": float(np.mean([format_kept(r.text, opened) for r in rollouts])),
        "length_mean": float(lengths.mean()),
        "length_p95": float(np.percentile(lengths, 95)),
        "response_tokens": int(lengths.sum()),
        "groups_kept": len(experience.kept),
        **_group_kinds(groups),
        "seconds_generate": experience.seconds_generate,
        "seconds_judge": experience.seconds_judge,
    }


def _group_kinds(groups: Sequence[Group]) -> dict[str, int]:
    """Groups with an advantage, and of those without one how many are right, and how many wrong, as far as judged."""
    mixed = {id(group) for group in informative(groups)}
    judged = [group for group in groups if id(group) not in mixed and not np.isnan(group.rewards_G).all()]
    right = sum(bool(group.correct_G[~np.isnan(group.rewards_G)].all()) for group in judged)
    return {"groups_mixed": len(mixed), "groups_all_correct": right, "groups_all_wrong": len(judged) - right}


def rollout_rows(
    experience: Experience, batch: Batch | None, update: Update | None, *, step: int, stage: str
) -> list[RolloutRow]:
    """One row a response; those that an update learned from carry their tokens' logprobs, entropy and coefficient."""
    row_of = _rows_in_batch(experience, batch)
    rows = []
    for group, parts in zip(experience.groups, experience.parts, strict=True):
        for g, (rollout, verdict) in enumerate(zip(group.rollouts, group.verdicts, strict=True)):
            b = row_of.get(id(rollout))
            tokens: dict[str, Any] = dict.fromkeys(("old_logprobs", "update_logprobs", "entropy", "coefficient"))
            if b is not None and update is not None and update.learned_B[b]:
                length = len(rollout.response_ids)
                old = update.old_BT[b, :length]
                tokens = {
                    "old_logprobs": None if np.array_equal(old, rollout.sampled_logprobs) else old,
                    "update_logprobs": update.logprobs_BT[b, :length],
                    "entropy": update.entropy_BT[b, :length],
                    "coefficient": update.coefficients_BT[b, :length],
                }
            rows.append(
                RolloutRow(
                    step=step,
                    stage=stage,
                    problem_id=group.problem.id,
                    sample=rollout.sample,
                    prompt_text=_as_text(group.problem.prompt),
                    response_text=rollout.text,
                    prompt_ids=rollout.prompt_ids,
                    response_ids=rollout.response_ids,
                    sampled_logprobs=rollout.sampled_logprobs,
                    **tokens,
                    advantage=float(batch.advantages_B[b]) if batch is not None and b is not None else 0.0,
                    reward=float(group.rewards_G[g]),
                    reward_parts=json.dumps({key: None if np.isnan(v) else v for key, v in parts[g].items()}),
                    finish_reason=rollout.finish_reason,
                    verdict=verdict.status,
                    extracted=verdict.extracted,
                    rule=verdict.rule,
                    ground_truth=group.problem.ground_truth,
                    difficulty=group.problem.difficulty,
                )
            )
    return rows


def _rows_in_batch(experience: Experience, batch: Batch | None) -> dict[int, int]:
    """Row of the batch by identity of the rollout, in the order of ``make_batch``."""
    if batch is None:
        return {}
    groups = [*experience.kept, *experience.dropped_correct]
    rollouts = (rollout for group in groups for rollout in group.rollouts)
    return {id(rollout): b for b, rollout in zip(range(len(batch)), rollouts, strict=False)}


def _as_text(prompt: tuple[Message, ...]) -> str:
    if len(prompt) == 1:
        return prompt[0]["content"]
    return "\n".join(f"{turn['role']}: {turn['content']}" for turn in prompt)
