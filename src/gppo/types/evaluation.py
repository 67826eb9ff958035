"""An evaluation: k judged samples for each problem of one set, under one way of sampling."""

from dataclasses import dataclass

import numpy as np

from gppo.types.rollout import SamplingSettings


@dataclass(frozen=True, slots=True)
class Evaluation:
    """k judged samples for each of P problems.

    Args:
        name: the set and the way of sampling, e.g. "heldout T=1.0".
        step: training step of the model that was evaluated.
        sampling: how tokens were drawn.
        problem_ids: P ids.
        difficulty: P labels, "" where unknown.
        correct_PK: bool [P, k].
        valid_PK: bool [P, k], False where the judge itself failed (left out of every mean).
        lengths_PK: int64 [P, k], tokens.
        truncated_PK: bool [P, k], cut at max_tokens; never correct.
        votes_PK: int64 [P, k], samples of a problem with equal answers have equal numbers, -1 for no answer; None
            where answers are not compared with each other.
    """

    name: str
    step: int
    sampling: SamplingSettings
    problem_ids: tuple[str, ...]
    difficulty: tuple[str, ...]
    correct_PK: np.ndarray
    valid_PK: np.ndarray
    lengths_PK: np.ndarray
    truncated_PK: np.ndarray
    votes_PK: np.ndarray | None = None
