"""Responses beside each other: one problem at two steps of the run, and the best and the worst of one group."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gppo.report.numbers import number
from gppo.report.samples import SHOWN, Sample, sample_of
from gppo.run import RolloutRow, read_rollouts, rollout_steps
from gppo.run.rollouts import problems_of


@dataclass(frozen=True, slots=True)
class Beside:
    """Two responses to one problem.

    Args:
        kind: "time": an earlier and a later step; "group": worst and best of one group.
        left: the earlier, or the worse.
        right: the other.
    """

    kind: str
    left: Sample
    right: Sample


def beside_each_other(folder: Path) -> list[Beside]:
    """Up to ``SHOWN`` of each kind. Empty where the folder holds no rollouts.

    Over time: the problems that were drawn at two saved steps, those with the most steps between first. Of each group
    the response whose reward is nearest to the group's mean is shown, so that neither side is a lucky draw. Of one
    group: those of the last step whose rewards lie farthest apart.
    """
    steps = rollout_steps(folder)
    if not steps:
        return []
    return _over_time(folder, steps) + _in_a_group(_groups(folder, steps[-1]))


def _over_time(folder: Path, steps: Sequence[int]) -> list[Beside]:
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for step in steps:
        for problem in problems_of(folder, step):
            first.setdefault(problem, step)
            last[problem] = step
    far = sorted((p for p in first if first[p] < last[p]), key=lambda p: (first[p] - last[p], p))[:SHOWN]
    groups = {step: _groups(folder, step) for step in {first[p] for p in far} | {last[p] for p in far}}
    pairs = [(_typical(groups[first[p]][p]), _typical(groups[last[p]][p])) for p in far]
    return [Beside("time", sample_of("", a), sample_of("", b)) for a, b in pairs if a is not None and b is not None]


def _in_a_group(groups: dict[str, list[RolloutRow]]) -> list[Beside]:
    judged = [[row for row in rows if number(row.reward) is not None] for rows in groups.values()]
    mixed = [sorted(rows, key=lambda row: row.reward) for rows in judged if len({row.reward for row in rows}) > 1]
    mixed.sort(key=lambda rows: rows[0].reward - rows[-1].reward)
    return [Beside("group", sample_of("", rows[0]), sample_of("", rows[-1])) for rows in mixed[:SHOWN]]


def _groups(folder: Path, step: int) -> dict[str, list[RolloutRow]]:
    groups: dict[str, list[RolloutRow]] = {}
    for row in read_rollouts(folder, step):
        groups.setdefault(row.problem_id, []).append(row)
    return groups


def _typical(rows: Sequence[RolloutRow]) -> RolloutRow | None:
    """The response nearest to the group's mean reward; None where none was judged."""
    judged = [row for row in rows if number(row.reward) is not None]
    if not judged:
        return None
    mean = float(np.mean([row.reward for row in judged]))
    return min(judged, key=lambda row: (abs(row.reward - mean), row.sample))
