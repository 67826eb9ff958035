"""The paired differences that a comparison of runs shows: the room of reports does not score."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from gppo.evaluate import load_evaluations, paired_difference
from gppo.report import Difference
from gppo.run import RunFolder
from gppo.types import Evaluation


def differences_of(folders: Sequence[Path]) -> list[Difference]:
    """Every run beside the first one: their last evaluations of the same name, where they hold the same problems.

    Raises:
        UserError: there is no run in a folder, or an evaluation is damaged.
    """
    last = [_last(folder) for folder in folders]
    found = []
    for folder, evaluations in zip(folders[1:], last[1:], strict=True):
        for name, first in last[0].items():
            other = evaluations.get(name)
            if other is None or set(other.problem_ids) != set(first.problem_ids):
                continue
            d = paired_difference(first, other)
            mean, low, high = (value if isfinite(value) else None for value in (d.mean, d.low, d.high))
            found.append(Difference(name, str(folders[0]), str(folder), mean, low, high, None, d.problems))
    return found


def _last(folder: Path) -> dict[str, Evaluation]:
    """The last evaluation of each name."""
    run = RunFolder.open(folder)
    return {evaluation.name: evaluation for evaluation in load_evaluations(run.evaluations)}
