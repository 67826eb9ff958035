"""Differences paired by seed: hand-computed intervals, and what is said of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.reproduce.experiment import Experiment
from gppo.reproduce.verdict import compare, in_words, paired_interval, unit_value

T_3 = 3.182446305284263  # the 97.5 % point of Student's t with three degrees of freedom, from a printed table


def unit(values, *, name="T=1", diverged=None, by=None):
    evaluations = [
        {"name": name, "step": step, "accuracy": value, "by_difficulty": (by or {}).get(step, {})}
        for step, value in values.items()
    ]
    return {
        "evaluations": evaluations,
        "diverged": diverged,
        "seconds": 1.0,
        "cpu_seconds": 1.0,
        "tokens": [],
        "series": {"step": []},
    }


def experiment(**changes):
    data = {
        "name": "toy",
        "title": "Toy",
        "paper": "p",
        "question": "q",
        "hypothesis": "h",
        "world": "misled",
        "metric": {"set": "exam", "sampling": "T=1", "steps": [1, 2], "what": "mean of two"},
        "recipe": {},
        "regimes": [{"name": "plain", "about": "a"}],
        "arms": [{"name": "new", "about": "n"}, {"name": "old", "about": "o"}],
        "comparisons": [{"of": "new", "against": "old"}],
        "calibration": "c",
        "transfers": "t",
    }
    return Experiment.model_validate(data | changes)


def test_the_interval_is_students_computed_by_hand():
    differences = [0.01, 0.03, 0.05, 0.07]  # mean 0.04, sum of squares 0.002, sd sqrt(0.002 / 3)
    mean, low, high = paired_interval(differences)
    half = T_3 * math.sqrt(0.002 / 3) / 2
    assert mean == pytest.approx(0.04)
    assert low == pytest.approx(0.04 - half)
    assert high == pytest.approx(0.04 + half)


def test_one_pair_gives_no_interval_and_no_verdict():
    results = {("plain", "new"): {0: unit({1: 0.9, 2: 0.9})}, ("plain", "old"): {0: unit({1: 0.1, 2: 0.1})}}
    told = experiment()
    found = compare(told, told.regimes[0], told.comparisons[0], results)
    assert found.mean == pytest.approx(0.8)
    assert found.verdict == "undecided"
    assert "1 pair of seeds give no interval" in in_words(found)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=12), st.floats(-0.5, 0.5))
def test_moving_every_difference_moves_the_interval(differences, by):
    mean, low, high = paired_interval(differences)
    moved = paired_interval([d + by for d in differences])
    assert np.allclose(moved, (mean + by, low + by, high + by), atol=1e-9)
    assert low <= mean <= high


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(2000):
        _, low, high = paired_interval(rng.normal(0.1, 0.3, size=8))
        hits += low <= 0.1 <= high
    assert 0.935 <= hits / 2000 <= 0.965


def seeds_of(values):
    return {seed: unit({1: value, 2: value}) for seed, value in enumerate(values)}


@pytest.mark.parametrize(
    ("new", "old", "verdict"),
    [
        ((0.5, 0.6, 0.7), (0.4, 0.5, 0.61), "higher"),
        ((0.4, 0.5, 0.61), (0.5, 0.6, 0.7), "lower"),
        ((0.5, 0.4, 0.6), (0.4, 0.5, 0.6), "undecided"),
        ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "undecided"),
    ],
)
def test_verdicts(new, old, verdict):
    told = experiment()
    found = compare(
        told, told.regimes[0], told.comparisons[0], {("plain", "new"): seeds_of(new), ("plain", "old"): seeds_of(old)}
    )
    assert found.verdict == verdict
    assert verdict in in_words(found)


def test_only_seeds_that_both_arms_have_are_paired():
    told = experiment()
    new, old = seeds_of((0.5, 0.6, 0.7)), seeds_of((0.4, 0.5, 0.6))
    del old[1]
    found = compare(told, told.regimes[0], told.comparisons[0], {("plain", "new"): new, ("plain", "old"): old})
    assert (found.seeds, found.wins) == (2, 2)


def test_the_metric_is_a_mean_over_its_steps_and_a_diverged_unit_has_zero_where_it_never_came():
    metric = experiment().metric
    assert unit_value(unit({0: 0.9, 1: 0.2, 2: 0.4}), metric) == pytest.approx(0.3)
    assert unit_value(unit({0: 0.9, 1: 0.2}, diverged="not finite"), metric) == pytest.approx(0.1)
    with pytest.raises(KeyError):
        unit_value(unit({0: 0.9, 1: 0.2}), metric)


def test_a_comparison_may_look_at_one_difficulty():
    told = experiment(comparisons=[{"of": "new", "against": "old", "difficulty": "hard", "steps": [2]}])
    metric = told.metric_of(told.comparisons[0])
    hard, easy = ({2: {"hard": share}} for share in (0.25, 0.75))
    assert unit_value(unit({2: 0.5}, by=hard), metric) == 0.25
    sides = {("plain", "new"): [easy, easy], ("plain", "old"): [hard, {2: {"hard": 0.3}}]}
    results = {arm: {seed: unit({2: 0.5}, by=by) for seed, by in enumerate(found)} for arm, found in sides.items()}
    found = compare(told, told.regimes[0], told.comparisons[0], results)
    assert in_words(found).startswith("new is higher than old (hard, [2]): +47.5 points")
    found = compare(told, told.regimes[0], told.comparisons[0], dict.fromkeys(results, results["plain", "old"]))
    assert in_words(found).startswith("undecided between new and old (hard, [2]): +0.0 points")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"comparisons": [{"of": "nwe", "against": "old"}]}, "no arm 'nwe'; did you mean 'new'"),
        ({"world": "mislead"}, "no world 'mislead'; did you mean 'misled'"),
        ({"sweep": {"name": "x", "arms": ["new", "old"], "values": [1.0, 2.0, 3.0]}}, "one value"),
        ({"arms": [{"name": "new", "about": "n"}] * 2}, "must differ"),
        ({"world_per_seed": True, "start": {}}, "exclude each other"),
    ],
)
def test_mistakes_in_a_file_are_named(changes, complaint):
    with pytest.raises(ValueError, match=complaint.split(";")[0]):
        experiment(**changes)
