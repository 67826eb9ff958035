"""One judged response as a line of results.jsonl, and an evaluation from all of its lines."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gppo.evaluate.voting import vote_classes
from gppo.types import Evaluation, Problem, Rollout, SamplingSettings, Verdict


def result_of(problem: Problem, rollout: Rollout, verdict: Verdict, *, format_ok: bool = True) -> dict[str, Any]:
    """What is kept of a response: id, sample, verdict, whether it counts as correct, and the text.

    Args:
        problem: what was asked.
        rollout: the response; a truncated one is never correct.
        verdict: what the judge says of the text alone.
        format_ok: whether the response kept the format that was asked for; never correct otherwise.
    """
    return {
        "id": problem.id,
        "sample": rollout.sample,
        "correct": verdict.correct and not rollout.truncated and format_ok,
        "verdict": verdict.status,
        "score": verdict.score,
        "extracted": verdict.extracted,
        "rule": verdict.rule,
        "tokens": len(rollout.response_ids),
        "truncated": rollout.truncated,
        "response": rollout.text,
    }


def without_text(result: dict[str, Any]) -> dict[str, Any]:
    """A line as it is held in memory: the texts of a whole evaluation may be gigabytes."""
    return {key: value for key, value in result.items() if key != "response"}


def evaluation_of(
    name: str, step: int, sampling: SamplingSettings, problems: Sequence[Problem], results: Sequence[dict[str, Any]]
) -> Evaluation:
    """The evaluation of P problems from the k lines of each, in the order of problems and samples."""
    shape = (len(problems), -1 if results else 0)

    def column(key: str, dtype: type[np.generic]) -> np.ndarray:
        return np.array([result[key] for result in results], dtype=dtype).reshape(shape)

    correct_PK = column("correct", np.bool_)
    votes_PK = None
    if problems and all(problem.ability == "math" for problem in problems):
        answers_PK = np.array([_vote(result) for result in results], dtype=object).reshape(shape)
        votes_PK = np.stack([vote_classes(*row) for row in zip(answers_PK.tolist(), correct_PK.tolist(), strict=True)])
    return Evaluation(
        name=name,
        step=step,
        sampling=sampling,
        problem_ids=tuple(problem.id for problem in problems),
        difficulty=tuple(problem.difficulty for problem in problems),
        correct_PK=correct_PK,
        valid_PK=column("verdict", np.object_) != "infra",
        lengths_PK=column("tokens", np.int64),
        truncated_PK=column("truncated", np.bool_),
        votes_PK=votes_PK,
    )


def _vote(result: dict[str, Any]) -> str | None:
    """The answer that a response votes for: none where it was cut, gave none, or counts as wrong for its format."""
    if result["truncated"] or result["verdict"] not in ("correct", "wrong"):
        return None
    if result["verdict"] == "correct" and not result["correct"]:
        return None
    return None if result["extracted"] is None else str(result["extracted"])
