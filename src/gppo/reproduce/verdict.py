"""What the numbers say: differences paired by seed, their intervals, and higher, lower or undecided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt
from typing import Any, Literal

import numpy as np
from scipy import stats

from gppo.evaluate import across_seeds
from gppo.reproduce.experiment import Comparison, Experiment, Metric, Regime

#: The results of the units: (regime, arm) -> seed -> what the unit left.
Results = Mapping[tuple[str, str], Mapping[int, dict[str, Any]]]
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """One arm against another.

    Args:
        comparison: what was compared.
        metric: by what.
        mean: of the differences over the seeds that both have, in [-1, 1].
        low, high: their 95 % interval; NaN for fewer than two seeds.
        seeds: how many pairs.
        wins: pairs in which ``of`` is ahead.
    """

    comparison: Comparison
    metric: Metric
    mean: float
    low: float
    high: float
    seeds: int
    wins: int

    @property
    def verdict(self) -> Literal["higher", "lower", "undecided"]:
        """What the interval says: all of it above 0, all of it below, or neither."""
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "undecided"


def unit_value(result: Mapping[str, Any], metric: Metric) -> float:
    """A unit's metric, in [0, 1]: the mean over ``metric.steps``. A step that a diverged unit did not reach counts 0.

    Raises:
        KeyError: a step was not evaluated though the unit ended well.
    """
    names = (metric.sampling, f"{metric.set} {metric.sampling}")
    found = {one["step"]: one for one in result["evaluations"] if one["name"] in names}
    values = []
    for step in metric.steps:
        if step not in found and result["diverged"]:
            values.append(0.0)
            continue
        one = found[step]
        values.append(one["accuracy"] if metric.difficulty is None else one["by_difficulty"][metric.difficulty])
    return float(np.mean(values))


def paired_interval(differences_S: Sequence[float]) -> tuple[float, float, float]:
    """Mean of the differences and its 95 % interval, d +- t(S-1, 0.975) sd(d) / sqrt(S); NaN for fewer than two.

    Student's t holds at eight seeds, where a bootstrap's intervals are too short.
    """
    values_S = np.asarray(differences_S, dtype=np.float64)
    count = len(values_S)
    mean = float(values_S.mean()) if count else nan
    if count < 2:
        return mean, nan, nan
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, count - 1) * values_S.std(ddof=1) / sqrt(count))
    return mean, mean - half, mean + half


def compare(experiment: Experiment, regime: Regime, comparison: Comparison, results: Results) -> Difference:
    """One comparison in one regime, over the seeds that both arms have."""
    metric = experiment.metric_of(comparison)
    of, against = (results.get((regime.name, arm), {}) for arm in (comparison.of, comparison.against))
    seeds = sorted(set(of) & set(against))
    a_S = np.array([unit_value(of[seed], metric) for seed in seeds])
    b_S = np.array([unit_value(against[seed], metric) for seed in seeds])
    mean, low, high = paired_interval(a_S - b_S)
    return Difference(comparison, metric, mean, low, high, len(seeds), int((a_S > b_S).sum()))


def arm_value(results: Results, regime: str, arm: str, metric: Metric) -> tuple[float, float]:
    """Mean and standard error of a metric over an arm's seeds; NaN where there are too few."""
    values_S = [unit_value(result, metric) for result in results.get((regime, arm), {}).values()]
    return across_seeds(values_S) if values_S else (nan, nan)


def in_words(found: Difference) -> str:
    """The verdict as a sentence, with what an undecided one excludes; differences in points."""
    of, against = found.comparison.of, found.comparison.against
    where = found.comparison.model_dump(include={"sampling", "difficulty", "steps"}, exclude_none=True)
    shown = f" ({', '.join(map(str, where.values()))})" if where else ""
    if isnan(found.low):
        return f"undecided: {found.seeds} pair{'' if found.seeds == 1 else 's'} of seeds give no interval"
    interval = f"{100 * found.mean:+.1f} points, 95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f}"
    if found.verdict == "undecided":
        excluded = "larger differences are excluded, smaller ones are not"
        return f"undecided between {of} and {against}{shown}: {interval}; {excluded}"
    return f"{of} is {found.verdict} than {against}{shown}: {interval}"
