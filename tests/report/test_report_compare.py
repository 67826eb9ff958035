"""Runs beside each other."""

import json
import re
from math import sqrt

import numpy as np
import pytest
import yaml
from synthetic_run import evaluation, recipe

from gppo.cli.compare import differences_of
from gppo.evaluate import paired_comparison, save_evaluation
from gppo.report import Difference, write_comparison
from gppo.report.compare import band, families_of
from gppo.report.reading import read_run
from gppo.run import RunFolder
from gppo.types import UserError


def run_of(path, *, seed=0, objective="gppo", rewards=(0.1, 0.2), skill=6):
    content = recipe(path.name, 3) | {"seed": seed, "run_dir": str(path)}
    content["rl"]["objective"] = {"name": objective}
    content["rl"]["stages"][0]["data"] = f"{path}/data/sums.jsonl"
    run = RunFolder.create(path, yaml.safe_dump(content))
    for step, reward in enumerate(rewards, start=1):
        run.log("rl", step=step, stage="sums", reward_mean=reward, clip_positive_high=reward / 100)
    save_evaluation(run.evaluations, evaluation("held-out", skill, 12, k=4))
    return run


@pytest.fixture
def runs(tmp_path):
    """Two seeds of GPPO and one run of Clip-Higher, which began later and is better."""
    return [
        run_of(tmp_path / "a", seed=0, rewards=(0.0, 0.4, 0.6)),
        run_of(tmp_path / "b", seed=1, rewards=(0.2, 0.8)),
        run_of(tmp_path / "c", objective="clip_higher", rewards=(0.5, 0.5, 0.5), skill=9),
    ]


def test_seeds_of_one_recipe_are_a_family_named_by_what_differs(runs):
    families = families_of([read_run(run.path) for run in runs])
    assert [(family.name, len(family.runs)) for family in families] == [("gppo", 2), ("clip_higher", 1)]
    (alone,) = families_of([read_run(runs[0].path)])
    assert alone.name == "a"


def test_a_band_is_the_mean_and_its_error_where_all_seeds_have_the_step(runs):
    families = families_of([read_run(run.path) for run in runs])
    figure = band(families, "rl", "reward", "Mean reward", "", "reward_mean", False).figure
    low, high, mean, single = figure["data"]
    assert mean["x"] == [1, 2]  # step 3 has one seed only
    assert mean["y"] == pytest.approx([0.1, 0.6])
    error = np.array([np.std([0.0, 0.2], ddof=1), np.std([0.4, 0.8], ddof=1)]) / sqrt(2)
    assert low["y"] == pytest.approx(np.array([0.1, 0.6]) - error)
    assert high["y"] == pytest.approx(np.array([0.1, 0.6]) + error)
    assert high["fill"] == "tonexty"
    assert (single["x"], single["y"]) == ([1, 2, 3], [0.5, 0.5, 0.5])
    assert mean["line"]["color"] != single["line"]["color"]
    assert band(families, "rl", "x", "X", "", "not_there", False) is None


def test_differences_are_those_of_the_evaluations(runs):
    found = differences_of([run.path for run in runs])
    assert [(one.evaluation, one.before, one.after) for one in found] == [
        ("held-out", str(runs[0].path), str(run.path)) for run in runs[1:]
    ]
    expected = paired_comparison(evaluation("held-out", 6, 12, k=4), evaluation("held-out", 9, 12, k=4))
    assert (found[1].mean, found[1].low, found[1].p) == (expected.mean, expected.low, expected.p)
    assert found[1].problems == expected.problems
    assert found[0].mean == 0


def test_other_problems_have_no_paired_difference(runs, tmp_path):
    other = run_of(tmp_path / "d")
    save_evaluation(other.evaluations, evaluation("held-out", 7, 12, k=4, problems=30))
    assert differences_of([runs[0].path, other.path]) == []


def test_the_page_shows_it_all(runs, tmp_path):
    path = write_comparison([run.path for run in runs], tmp_path / "out.html", differences_of([r.path for r in runs]))
    html = path.read_text()
    text = " ".join(re.sub(r"<[^>]+>", " ", html.partition("<main")[2].partition("<script")[0]).split())
    assert "<title>gppo · clip_higher" in html
    assert "Paired differences" in text
    assert f"{runs[2].path} {runs[0].path} +" in text
    charts = json.loads(re.search(r'id="charts">(.*?)</script>', html)[1])
    assert {"reward", "high"} <= set(charts)


def test_a_comparison_is_drawn(runs, tmp_path, browser):
    path = write_comparison([run.path for run in runs], tmp_path / "out.html", [
        Difference("<img src=x onerror=alert(1)>", "a", "b", None, None, None, 0.04, 3),
    ])  # fmt: skip
    browser.errors.clear()
    browser.open(path.as_uri(), 390, 900, 1)
    assert browser.value("document.documentElement.dataset.ready") == "yes"
    assert browser.value("document.documentElement.scrollWidth") == 390
    assert browser.value("document.images.length") == 0
    assert browser.errors == []


def test_what_is_no_run_is_refused(runs, tmp_path):
    with pytest.raises(UserError, match="not a run folder"):
        write_comparison([runs[0].path, tmp_path / "none"], tmp_path / "out.html")
