"""Intervals and p-values: the values that enumeration gives, and how often they hold the truth."""

from itertools import product
from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gppo.evaluate import bootstrap_interval, sign_flip_p
from gppo.evaluate.intervals import student_quantile


@pytest.mark.parametrize(
    ("freedom", "wanted"),
    [(5, 2.5706), (9, 2.2622), (29, 2.0452), (99, 1.9842), (499, 1.9647)],  # 97.5 % points, from tables
)
def test_student_quantiles(freedom, wanted):
    assert student_quantile(0.975, freedom) == pytest.approx(wanted, abs=2e-3)
    assert student_quantile(0.025, freedom) == pytest.approx(-wanted, abs=2e-3)


def test_bootstrap_interval_of_three_questions_by_enumeration():
    """All 27 resamples of three questions, at the quantiles that the definition gives."""
    values = np.array([0.0, 0.5, 1.0])
    means = sorted(np.mean(draw) for draw in product(values, repeat=3))
    low, high = bootstrap_interval(values, level=0.5, resamples=200_000)
    t = student_quantile(0.25, 2) * sqrt(3 / 2)
    from statistics import NormalDist

    tail = NormalDist().cdf(t)
    assert low == pytest.approx(means[int(tail * 27)], abs=1e-9)
    assert high == pytest.approx(means[int((1 - tail) * 27)], abs=1e-9)


def test_intervals_without_spread_and_without_enough_questions():
    assert bootstrap_interval(np.full(10, 0.25)) == (0.25, 0.25)
    assert all(map(isnan, bootstrap_interval(np.array([0.5]))))


def test_intervals_depend_on_the_seed_and_not_on_how_draws_are_cut(monkeypatch):
    values = np.random.default_rng(1).random(40)
    whole = bootstrap_interval(values, resamples=500)
    assert whole == bootstrap_interval(values, resamples=500)
    assert whole != bootstrap_interval(values, resamples=500, seed=1)
    monkeypatch.setattr("gppo.evaluate.intervals._AT_ONCE", 40)
    assert whole == bootstrap_interval(values, resamples=500)


def _covered(questions, samples, truth_of, interval, trials=800):
    """The share of simulated evaluations whose interval holds the truth."""
    rng = np.random.default_rng(7)
    held = 0
    for trial in range(trials):
        p_P = truth_of(rng, questions)
        right_P = rng.binomial(samples, p_P)
        low, high, truth = interval(right_P, p_P, trial)
        held += low <= truth <= high
    return held / trials


@pytest.mark.parametrize(("questions", "samples"), [(30, 8), (30, 64), (100, 1), (150, 4)])
def test_bootstrap_intervals_hold_the_truth_over_other_questions(questions, samples):
    """Questions as benchmarks have them: many hopeless, many sure; the truth is the mean over all of their kind."""

    def covered(right_P, p_P, trial):
        return *bootstrap_interval(right_P / samples, resamples=1000, seed=trial), 2 / 3

    share = _covered(questions, samples, lambda rng, count: rng.beta(0.8, 0.4, count), covered)
    assert 0.93 <= share <= 0.97


def test_paired_intervals_hold_the_difference():
    """Two models of which one is 6 points better, on questions that decide more than the model does."""

    def simulate(rng, count):
        return rng.beta(0.8, 0.4, count)

    def covered(right_P, p_P, trial):
        better_P = np.minimum(1.0, p_P + 0.06)
        other_P = np.random.default_rng(trial).binomial(8, better_P) / 8
        truth = 0.04766  # E[min(1, p + 0.06) - p] for p ~ Beta(0.8, 0.4), by numeric integration below
        return *bootstrap_interval(other_P - right_P / 8, resamples=1000, seed=trial), truth

    grid = (np.arange(2_000_000) + 0.5) / 2_000_000
    density = grid**-0.2 * (1 - grid) ** -0.6
    gain = np.minimum(1.0, grid + 0.06) - grid
    assert (gain * density).sum() / density.sum() == pytest.approx(0.04766, abs=5e-4)
    assert 0.93 <= _covered(100, 8, simulate, covered) <= 0.97


@given(st.lists(st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=9))
@settings(max_examples=60)
def test_few_sign_flips_are_all_counted(differences):
    found = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in
             product([1, -1], repeat=len(differences))]  # fmt: skip
    wanted = np.mean([value >= abs(sum(differences)) - 1e-9 for value in found])
    assert sign_flip_p(np.array(differences)) == pytest.approx(wanted)


def test_many_sign_flips_come_near_the_exact_p(monkeypatch):
    differences = np.random.default_rng(0).normal(0.3, 1.0, 14).round(3)
    exact = sign_flip_p(differences)
    monkeypatch.setattr("gppo.evaluate.intervals._EXACT", 0)
    assert sign_flip_p(differences, resamples=100_000) == pytest.approx(exact, abs=0.006)
    assert sign_flip_p(np.full(40, 0.5), resamples=999) == 1 / 1000  # never 0: it says what the draws can show


def test_p_values_are_small_as_often_as_they_should_be():
    """Under no difference, p <= 0.05 happens in at most about 5 % of the comparisons."""
    rng = np.random.default_rng(3)
    found = []
    for trial in range(600):
        p_P = rng.beta(0.8, 0.4, 40)
        differences = (rng.binomial(8, p_P) - rng.binomial(8, p_P)) / 8
        found.append(sign_flip_p(differences, resamples=400, seed=trial))
    assert np.mean(np.array(found) <= 0.05) == pytest.approx(0.05, abs=0.02)
    assert 0.38 < np.mean(np.array(found) <= 0.5) < 0.55  # patterns as far out as the one seen count as further
