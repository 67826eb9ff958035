"""From a verdict to a reward."""

from collections.abc import Sequence

import numpy as np

from gppo.config.rl import OverlongConfig, RewardConfig
from gppo.types import Group, Problem, Rollout, Verdict
from gppo.verify.thinking import format_kept

#: Lowest and highest reward of each way to score, before penalties.
_RANGES = {"math": (-1.0, 1.0), "pass_rate": (0.0, 1.0), "signed": (-1.0, 1.0), "all_or_nothing": (0.0, 1.0)}


def reward_parts(
    problem: Problem,
    rollout: Rollout,
    verdict: Verdict,
    config: RewardConfig,
    overlong: OverlongConfig,
    *,
    prompt_opened: bool,
    max_response_tokens: int,
) -> dict[str, float]:
    """What a response earns, part by part; the reward is their sum.

    ``task``: math +1 or -1; code by ``config.code`` from the share of tests passed. A truncated response, one without
    its think tags and one without an answer get the task's lowest. ``format``: minus ``format_penalty`` for the last
    two. ``overlong``: DAPO's soft penalty, from 0 at the start of the buffer to -soft_penalty at the limit
    (https://arxiv.org/abs/2503.14476, Eq. 13). All NaN where the judge failed: masked, never a wrong answer.
    """
    kind = "math" if problem.ability == "math" else config.code
    lowest, highest = _RANGES[kind]
    parts = {"task": lowest, "format": 0.0, "overlong": 0.0}
    if verdict.status == "infra":
        return dict.fromkeys(parts, float("nan"))
    tags_kept = format_kept(rollout.text, prompt_opened) or not config.require_thinking
    if not tags_kept or verdict.status == "unparsable":
        parts["format"] = -config.format_penalty
    elif not rollout.truncated:
        score = float(verdict.correct) if kind in ("math", "all_or_nothing") else verdict.score
        parts["task"] = lowest + (highest - lowest) * score
    if overlong.soft_buffer:
        beyond = len(rollout.response_ids) - (max_response_tokens - overlong.soft_buffer)
        parts["overlong"] = -overlong.soft_penalty * min(1.0, max(0.0, beyond / overlong.soft_buffer))
    return parts


def make_group(
    problem: Problem, rollouts: Sequence[Rollout], verdicts: Sequence[Verdict], parts: Sequence[dict[str, float]]
) -> Group:
    """Put a problem's judged responses together. Correct means: right, whole, and in the asked format."""
    correct_G = [
        verdict.correct and not rollout.truncated and part["format"] == 0.0
        for rollout, verdict, part in zip(rollouts, verdicts, parts, strict=True)
    ]
    return Group(
        problem=problem,
        rollouts=tuple(rollouts),
        verdicts=tuple(verdicts),
        rewards_G=np.array([sum(part.values()) for part in parts]),
        correct_G=np.array(correct_G, dtype=bool),
    )
