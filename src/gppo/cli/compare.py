"""The paired differences that a comparison of runs shows: the room of reports does not score."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from gppo.evaluate import last_evaluations, paired_comparison
from gppo.report import Difference
from gppo.run import RunFolder


def differences_of(folders: Sequence[Path]) -> list[Difference]:
    """Every run beside the first one: their last evaluations of the same name, where they hold the same problems.

    Raises:
        UserError: there is no run in a folder, or an evaluation is damaged.
    """
    last = [last_evaluations(RunFolder.open(folder).evaluations) for folder in folders]
    found = []
    for folder, evaluations in zip(folders[1:], last[1:], strict=True):
        for name, first in last[0].items():
            other = evaluations.get(name)
            if other is None or set(other.problem_ids) != set(first.problem_ids):
                continue
            d = paired_comparison(first, other)
            mean, low, high, p = (value if isfinite(value) else None for value in (d.mean, d.low, d.high, d.p))
            found.append(Difference(name, str(folders[0]), str(folder), mean, low, high, p, d.problems))
    return found
