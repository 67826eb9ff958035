"""What a figure says fits onto it, in every experiment that ships."""

import re
from pathlib import Path

import pytest

from gppo.reproduce.experiment import experiment_names, find_experiment, read_experiment
from gppo.reproduce.figure import draw


@pytest.mark.parametrize("name", experiment_names())
def test_titles_end_before_the_edge(name, tmp_path: Path):
    experiment = read_experiment(find_experiment(name))
    metric = experiment.metric
    evaluation = {"name": metric.sampling, "step": 0, "accuracy": 0.5}
    steps = sorted({0, *metric.steps}) if any(metric.steps) else []
    series = {"step": steps, **{key: [0.1 for _ in steps] for key in ("entropy", "grad_norm", "clip_fraction")}}
    evaluations = [evaluation | {"step": step} for step in (steps or [0])]
    unit = {"evaluations": evaluations, "series": series, "diverged": None}
    results = {(r.name, arm.name): {0: unit, 1: unit} for r in experiment.regimes for arm in experiment.arms_of(r)}
    draw(experiment, results, tmp_path / "figure.svg")
    svg = (tmp_path / "figure.svg").read_text()
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    lines = re.findall(r"<text[^>]*>([^<]+)</text>", svg)
    assert any(experiment.regimes[0].name in line for line in lines)
    # A letter of 7 points is about half as wide as it is high.
    assert max(len(line) for line in lines) * 3.8 < width
