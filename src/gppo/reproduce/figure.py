"""The figure of an experiment: curves over steps for each regime, or a dot a seed where nothing has steps."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib
import numpy as np

from gppo.reproduce.experiment import Experiment, Regime
from gppo.reproduce.verdict import Results, arm_value, unit_value

matplotlib.use("svg")  # no screen is needed
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

#: Metrics of training beside the accuracy: key, title, whether the axis is logarithmic.
_TRAINING = (
    ("entropy", "Entropy, nats", False),
    ("grad_norm", "Gradient norm", True),
    ("clip_fraction", "Share beyond the arm's own range", False),
)


def draw(experiment: Experiment, results: Results, path: Path) -> None:
    """Write the figure as SVG, the same bytes for the same results."""
    series = any(unit["series"]["step"] for found in results.values() for unit in found.values())
    columns = 1 + len(_TRAINING) if series else 1
    rows = len(experiment.regimes) + (experiment.sweep is not None)
    with plt.rc_context(
        {
            "svg.hashsalt": "gppo",
            "svg.fonttype": "none",
            "font.size": 8,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        figure, axes = plt.subplots(
            rows,
            columns,
            figsize=(3.2 * columns + (3 if columns == 1 else 0), 2.6 * rows),
            squeeze=False,
            layout="constrained",
        )
        for row, regime in zip(axes, experiment.regimes, strict=False):
            if series:
                _curves(row, experiment, regime, results)
            else:
                _dots(row[0], experiment, regime, results)
        if series:
            figure.legend(*_legend(experiment), loc="outside lower center", ncols=5, frameon=False)
        if experiment.sweep is not None:
            _sweep(axes[-1], experiment, results)
        figure.savefig(path, format="svg", metadata={"Date": None})
        plt.close(figure)


def _curves(row: np.ndarray, experiment: Experiment, regime: Regime, results: Results) -> None:
    """Accuracy at every evaluation with its standard error over seeds, and three metrics of training."""
    colours = _colours(experiment)
    row[0].set_title(f"{regime.name}: accuracy, %")
    for at, (key, title, logarithmic) in enumerate(_TRAINING, start=1):
        row[at].set_title(title)
        for arm in experiment.arms_of(regime):
            units = list(results.get((regime.name, arm.name), {}).values())
            steps, mean, _ = _over_seeds([(unit["series"]["step"], unit["series"][key]) for unit in units])
            row[at].plot(steps, mean, linewidth=1, color=colours[arm.name])
            if logarithmic and (mean > 0).any():
                row[at].set_yscale("log")
    for arm in experiment.arms_of(regime):
        units = list(results.get((regime.name, arm.name), {}).values())
        steps, mean, error = _over_seeds([_accuracy(unit, experiment) for unit in units])
        colour = colours[arm.name]
        row[0].plot(steps, 100 * mean, marker=".", linewidth=1, color=colour)
        row[0].fill_between(steps, 100 * (mean - error), 100 * (mean + error), color=colour, alpha=0.15, linewidth=0)
    for axis in row:
        axis.set_xlabel("step")


def _colours(experiment: Experiment) -> dict[str, str]:
    """An arm has its colour in every regime, also in those without all of the arms."""
    return {arm.name: f"C{number}" for number, arm in enumerate(experiment.arms)}


def _legend(experiment: Experiment) -> tuple[list[Line2D], list[str]]:
    colours = _colours(experiment)
    return [Line2D([], [], color=colour) for colour in colours.values()], list(colours)


def _accuracy(unit: dict[str, Any], experiment: Experiment) -> tuple[list[int], list[float]]:
    metric = experiment.metric
    names = (metric.sampling, f"{metric.set} {metric.sampling}")
    found = sorted((one["step"], one["accuracy"]) for one in unit["evaluations"] if one["name"] in names)
    return [step for step, _ in found], [value for _, value in found]


def _over_seeds(curves: Sequence[tuple[Sequence[int], Sequence[float]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, means and standard errors over the curves that reach each step; what is no number does not count."""
    steps = np.array(sorted({step for xs, _ in curves for step in xs}), dtype=np.int64)
    values_SX = np.full((len(curves), len(steps)), np.nan)
    for row, (xs, ys) in zip(values_SX, curves, strict=True):
        row[np.searchsorted(steps, xs)] = [np.nan if y is None else y for y in ys]
    count_X = np.maximum((~np.isnan(values_SX)).sum(axis=0), 1)
    mean_X = np.nansum(values_SX, axis=0) / count_X
    spread_X = np.nansum((values_SX - mean_X) ** 2, axis=0) / np.maximum(count_X - 1, 1)
    return steps, mean_X, np.sqrt(spread_X / count_X)


def _dots(axis: Any, experiment: Experiment, regime: Regime, results: Results) -> None:
    """One dot a seed, the mean as a bar; a line joins the arms of a seed."""
    arms = experiment.arms_of(regime)
    axis.set_title(fill(f"{regime.name}: {experiment.metric.what.strip()}", 72), fontsize=7)
    of = [results.get((regime.name, arm.name), {}) for arm in arms]
    for seed in sorted({seed for found in of for seed in found}):
        points = [(x, 100 * unit_value(found[seed], experiment.metric)) for x, found in enumerate(of) if seed in found]
        axis.plot(*zip(*points, strict=True), color="0.8", linewidth=0.7, marker=".", markersize=4)
    for x, arm in enumerate(arms):
        mean, error = arm_value(results, regime.name, arm.name, experiment.metric)
        colour = _colours(experiment)[arm.name]
        axis.errorbar([x], [100 * mean], yerr=[100 * error], color=colour, marker="_", markersize=18, capsize=3)
    axis.set_xticks(range(len(arms)), [arm.name for arm in arms])
    axis.set_ylabel("%")


def _sweep(row: np.ndarray, experiment: Experiment, results: Results) -> None:
    """The metric along the sweep's setting, a panel for each regime that has its arms."""
    sweep = experiment.sweep
    assert sweep is not None
    panels = iter(row)
    for regime in experiment.regimes:
        if not set(sweep.arms) <= {arm.name for arm in experiment.arms_of(regime)}:
            continue
        axis = next(panels)
        found = [arm_value(results, regime.name, arm, experiment.metric) for arm in sweep.arms]
        axis.errorbar(
            sweep.values, [100 * m for m, _ in found], yerr=[100 * e for _, e in found], marker=".", capsize=3
        )
        axis.set_title(f"{regime.name}: metric, %")
        axis.set_xlabel(sweep.name)
    for axis in panels:
        axis.set_axis_off()
