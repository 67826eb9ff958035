"""What an evaluation has on disk while it is being made: it goes on after its last whole batch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gppo.config.evaluation import EvaluateConfig
from gppo.evaluate.store import finished_evaluation, save_evaluation, unfinished_path
from gppo.rollout import Request
from gppo.run.fingerprint import fingerprint
from gppo.run.metrics import append_metrics, read_metrics
from gppo.types import Evaluation, Problem, SamplingSettings

_COLUMNS = {"correct": np.bool_, "valid": np.bool_, "lengths": np.int64, "truncated": np.bool_}


@dataclass(frozen=True, slots=True)
class Kept:
    """The batches of one evaluation.

    Args:
        folder: a run's ``evaluations``.
        name: the evaluation's.
        step: the evaluation's.
        key: of everything that its result depends on; see ``evaluation_key``.
    """

    folder: Path
    name: str
    step: int
    key: str

    @property
    def path(self) -> Path:
        """Where the batches are."""
        return unfinished_path(self.folder, self.name, self.step)

    def finished(self) -> Evaluation | None:
        """The evaluation, where it was made to its end before and every response could be judged."""
        found = finished_evaluation(self.folder, self.name, self.step, self.key)
        return found if found is not None and found.valid_PK.all() else None

    def batches(self) -> list[dict[str, Any]]:
        """The whole batches that are there, in order. What another model or recipe left is removed."""
        found = read_metrics(self.path, "batch")
        if any(batch["key"] != self.key for batch in found):
            self.path.unlink()
            return []
        return [{name: np.array(batch[name], dtype=dtype) for name, dtype in _COLUMNS.items()} for batch in found]

    def add(self, batch: dict[str, Any]) -> None:
        """Put a batch on disk: a whole line or, where this is cut short, none."""
        self.folder.mkdir(parents=True, exist_ok=True)
        append_metrics(self.path, "batch", {"key": self.key, **batch})

    def finish(self, evaluation: Evaluation) -> None:
        """Save the evaluation in place of its batches."""
        save_evaluation(self.folder, evaluation, self.key)
        self.path.unlink(missing_ok=True)


def evaluation_key(
    weights: str,
    problems: Sequence[Problem],
    requests: Sequence[Request],
    settings: SamplingSettings,
    config: EvaluateConfig,
    seed: int,
) -> str:
    """Two evaluations of the same key have the same result.

    Args:
        weights: the model's fingerprint.
        problems: with their ids and reference answers.
        requests: with the prompts' tokens and the samples asked for.
        settings: how tokens are drawn.
        config: what counts as right, and which responses are decoded side by side.
        seed: the run's.
    """
    told = {**asdict(settings), "thinking": config.require_thinking, "batch": config.batch_responses, "seed": seed}
    parts = (
        part
        for problem, request in zip(problems, requests, strict=True)
        for part in (
            problem.id,
            problem.ability,
            problem.ground_truth,
            request.prompt_ids.tobytes(),
            str(request.samples),
            repr(request.messages),
        )
    )
    return fingerprint([weights, repr(sorted(told.items())), *parts])
