from dataclasses import replace
from itertools import combinations
from math import isnan, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.evaluate import (
    across_seeds,
    majority,
    paired_comparison,
    paired_difference,
    pass_at_k,
    pass_curve,
    problem_means,
    score,
    summarise,
)
from gppo.types import Evaluation, SamplingSettings, UserError


def evaluation(correct, valid=None, difficulty=None, ids=None, lengths=None, truncated=None, step=0) -> Evaluation:
    correct_PK = np.asarray(correct, dtype=bool)
    count = len(correct_PK)
    return Evaluation(
        name="heldout T=1",
        step=step,
        sampling=SamplingSettings(),
        problem_ids=tuple(ids) if ids else tuple(f"p{i}" for i in range(count)),
        difficulty=tuple(difficulty) if difficulty else ("",) * count,
        correct_PK=correct_PK,
        valid_PK=np.ones_like(correct_PK) if valid is None else np.asarray(valid, dtype=bool),
        lengths_PK=np.full(correct_PK.shape, 10, dtype=np.int64) if lengths is None else np.asarray(lengths),
        truncated_PK=np.zeros_like(correct_PK) if truncated is None else np.asarray(truncated, dtype=bool),
    )


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_answer(case):
    n, c, k = case
    draws = list(combinations([i < c for i in range(n)], k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(any(draw) for draw in draws) / len(draws), abs=1e-12)


def test_pass_at_k_survives_binomials_beyond_float():
    assert pass_at_k(10_000, 1, 5_000) == pytest.approx(0.5)
    assert pass_at_k(10_000, 0, 5_000) == 0.0


@pytest.mark.parametrize(("n", "c", "k"), [(4, 5, 1), (4, -1, 1), (4, 2, 0), (4, 2, 5)])
def test_pass_at_k_refuses_impossible_counts(n, c, k):
    with pytest.raises(ValueError, match="pass@k"):
        pass_at_k(n, c, k)


def test_standard_errors_by_hand():
    # p = 1, 1/2, 0 of two samples: mean 1/2; std(ddof 1) = 1/2; only the middle one varies between samples.
    found = score(evaluation([[1, 1], [1, 0], [0, 0]]))
    assert found.avg == pytest.approx(0.5)
    assert found.se_question == pytest.approx(0.5 / sqrt(3))
    assert found.se_sampling == pytest.approx(sqrt(0.25 / 1) / 3)
    assert (found.problems, found.unjudged) == (3, 0)


def test_unjudged_samples_leave_every_mean_and_unjudged_problems_are_counted():
    judged = evaluation([[1, 1, 0], [0, 1, 1], [1, 1, 1]], valid=[[1, 0, 1], [1, 1, 1], [0, 0, 0]])
    found = score(judged)
    assert found.avg == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert (found.problems, found.unjudged) == (2, 1)
    means_P = problem_means(judged)
    assert means_P[:2] == pytest.approx([1 / 2, 2 / 3])
    assert isnan(means_P[2])
    summary = summarise(judged)
    assert (summary.samples, summary.invalid_samples) == (5, 4)
    assert list(summary.pass_at) == [1, 2]  # one problem has two valid samples: pass@3 is not known
    assert summary.pass_at[1] == pytest.approx(found.avg)


def test_undefined_errors_are_nan():
    one_sample = score(evaluation([[1], [0]]))
    assert isnan(one_sample.se_sampling)
    assert one_sample.se_question == pytest.approx(sqrt(0.5) / sqrt(2))
    assert isnan(score(evaluation([[1, 0]])).se_question)
    nothing = summarise(evaluation([[1, 1]], valid=[[0, 0]]))
    assert isnan(nothing.score.avg)
    assert isnan(nothing.mean_length)
    assert nothing.pass_at == {}


def test_summary_by_difficulty_length_and_truncation():
    summary = summarise(
        evaluation(
            [[1, 1], [0, 0], [1, 0]],
            difficulty=["easy", "hard", "hard"],
            lengths=[[2, 4], [6, 8], [10, 12]],
            truncated=[[0, 0], [0, 0], [0, 1]],
        )
    )
    assert {label: found.avg for label, found in summary.by_difficulty.items()} == {"easy": 1.0, "hard": 0.25}
    assert summary.by_difficulty["hard"].se_question == pytest.approx(0.25)
    assert summary.mean_length == 7.0
    assert summary.truncated_share == pytest.approx(1 / 6)


def test_labels_that_are_missing_make_no_group():
    assert list(summarise(evaluation([[1], [0]], difficulty=["", "hard"])).by_difficulty) == ["hard"]


def test_question_level_interval_covers_the_true_mean():
    rng = np.random.default_rng(7)
    rounds, problems, k = 400, 60, 4
    hits = 0
    for _ in range(rounds):
        p_P = rng.beta(2, 2, size=problems)  # true mean 1/2, problems differ
        found = score(evaluation(rng.random((problems, k)) < p_P[:, None]))
        hits += abs(found.avg - 0.5) < 1.96 * found.se_question
    assert 0.91 <= hits / rounds <= 0.985


def test_sampling_interval_covers_the_mean_of_these_problems_and_is_narrower():
    rng = np.random.default_rng(8)
    p_P = rng.beta(0.5, 0.5, size=60)
    found = [score(evaluation(rng.random((60, 8)) < p_P[:, None])) for _ in range(400)]
    hits = sum(abs(one.avg - p_P.mean()) < 1.96 * one.se_sampling for one in found)
    assert 0.91 <= hits / 400 <= 0.985
    assert all(one.se_sampling < one.se_question for one in found)


def test_paired_difference_by_hand_and_in_any_order():
    before = evaluation([[0, 0], [1, 0], [1, 1]], ids=["a", "b", "c"])
    after = evaluation([[1, 1], [1, 1], [1, 1]], ids=["c", "a", "b"], step=60)
    found = paired_difference(before, after)  # differences 1, 1/2, 0
    assert (found.mean, found.problems) == (pytest.approx(0.5), 3)
    assert found.se == pytest.approx(0.5 / sqrt(3))
    assert found.high - found.mean == pytest.approx(1.959964 * 0.5 / sqrt(3))
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_pairing_removes_the_spread_between_problems():
    rng = np.random.default_rng(0)
    easy_P = rng.random(50) < 0.5
    before = evaluation(np.repeat(easy_P[:, None], 2, axis=1))
    assert paired_difference(before, before).se == 0.0
    assert score(before).se_question > 0.05


def test_paired_difference_selects_and_skips_the_unjudged():
    before = evaluation([[0], [0], [0]], valid=[[1], [1], [0]])
    after = evaluation([[1], [0], [1]])
    assert paired_difference(before, after).mean == pytest.approx(0.5)
    assert paired_difference(before, after, np.array([True, False, True])).mean == 1.0
    nothing = paired_difference(before, after, np.zeros(3, dtype=bool))
    assert isnan(nothing.mean)
    assert nothing.problems == 0


def test_paired_difference_needs_the_same_problems():
    with pytest.raises(UserError, match=r"different problems, e\.g\. 'b'"):
        paired_difference(evaluation([[1], [0]], ids=["a", "b"]), evaluation([[1], [0]], ids=["a", "c"]))
    with pytest.raises(UserError, match="twice"):
        paired_difference(evaluation([[1], [0]], ids=["a", "a"]), evaluation([[1]], ids=["a"]))


def test_across_seeds():
    assert across_seeds([0.2, 0.4, 0.6]) == (pytest.approx(0.4), pytest.approx(0.2 / sqrt(3)))
    mean, se = across_seeds([0.3])
    assert mean == 0.3
    assert isnan(se)
    with pytest.raises(ValueError, match="at least one"):
        across_seeds([])


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=6))
def test_scores_are_shares_and_pass_at_k_never_falls(correct):
    summary = summarise(evaluation(correct))
    assert 0 <= summary.score.avg <= 1
    assert list(summary.pass_at) == [1, 2, 3]
    values = list(summary.pass_at.values())
    assert values == sorted(values)
    assert values[0] == pytest.approx(summary.score.avg)
    assert 0 <= summary.score.se_sampling <= 0.5 / sqrt(len(correct))


@given(st.data())
def test_the_curve_of_pass_at_k_equals_brute_force_on_random_tables(data):
    """Every subset of every problem's samples, judged right where one of them is."""
    k = data.draw(st.integers(1, 6))
    rows = data.draw(st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=1, max_size=5))
    found = summarise(evaluation(rows)).pass_at
    assert list(found) == list(range(1, k + 1))
    for size, value in found.items():
        shares = [np.mean([any(draw) for draw in combinations(row, size)]) for row in rows]
        assert value == pytest.approx(np.mean(shares), abs=1e-12)


def test_the_curve_of_pass_at_k_is_that_of_each_k():
    n, c = np.array([64, 200, 64]), np.array([0, 3, 64])
    curve = pass_curve(n, c)
    assert curve.shape == (3, 64)
    assert curve == pytest.approx(
        np.array([[pass_at_k(int(a), int(b), k) for k in range(1, 65)] for a, b in zip(n, c, strict=True)])
    )


def voted(votes, correct, valid=None):
    return replace(evaluation(correct, valid), votes_PK=np.array(votes))


@pytest.mark.parametrize(
    ("votes", "correct", "wanted"),
    [
        ([0, 0, 1], [1, 1, 0], 1.0),
        ([0, 0, 1], [0, 0, 1], 0.0),
        ([0, 1, 0, 1], [1, 0, 1, 0], 0.5),  # a tie: either is as likely
        ([0, 1, 2], [1, 0, 0], 1 / 3),
        ([-1, -1, 0], [0, 0, 1], 1.0),  # no answer casts no vote
        ([-1, -1, -1], [0, 0, 0], 0.0),
        ([0, 0, 0, 1], [1, 0, 1, 0], 2 / 3),  # a judge that is not of one mind about equal answers
    ],
)
def test_majority(votes, correct, wanted):
    assert majority(voted([votes], [correct])) == pytest.approx([wanted])
    assert summarise(voted([votes], [correct])).majority == pytest.approx(wanted)


def test_majority_leaves_out_what_was_not_judged_and_needs_votes():
    found = voted([[0, 0, 1], [0, 0, 0]], [[1, 1, 0], [0, 0, 0]], valid=[[1, 0, 1], [0, 0, 0]])
    assert majority(found)[0] == 0.5
    assert isnan(majority(found)[1])
    assert summarise(found).majority == 0.5
    assert isnan(summarise(evaluation([[1, 0]])).majority)
    with pytest.raises(ValueError, match="no votes"):
        majority(evaluation([[1, 0]]))


def test_lengths_by_correctness():
    found = summarise(
        evaluation(
            [[1, 0], [0, 0]],
            lengths=[[10, 20], [30, 1000]],
            truncated=[[0, 0], [1, 1]],
            valid=[[1, 1], [1, 0]],
        )
    ).lengths
    assert (found["all"].samples, found["all"].mean, found["all"].median) == (3, 20, 20)
    assert (found["correct"].samples, found["correct"].mean, found["correct"].truncated) == (1, 10, 0)
    assert (found["wrong"].samples, found["wrong"].mean, found["wrong"].truncated) == (2, 25, 0.5)
    assert found["all"].p90 == pytest.approx(28)
    assert isnan(summarise(evaluation([[1]])).lengths["wrong"].mean)


def test_a_comparison_is_paired_by_question():
    before = evaluation([[1, 0], [0, 0], [1, 1]], ids=["a", "b", "c"])
    after = evaluation([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]], ids=["c", "b", "a"])
    found = paired_comparison(before, after)  # a 0.5 -> 1, b 0 -> 0.5, c 1 -> 1
    assert (found.before, found.after, found.mean) == (0.5, pytest.approx(5 / 6), pytest.approx(1 / 3))
    assert (found.problems, found.better, found.worse) == (3, 2, 0)
    assert found.se == pytest.approx(np.std([0.5, 0.5, 0.0], ddof=1) / sqrt(3))
    assert found.p == 0.5  # of the four sign patterns of 0.5 and 0.5, two are as far out
    assert found.low <= found.mean <= found.high
    assert paired_comparison(before, before).p == 1.0
    with pytest.raises(UserError, match="hold different problems"):
        paired_comparison(before, evaluation([[1]], ids=["z"]))


def test_a_comparison_leaves_out_questions_that_one_side_could_not_judge():
    before = evaluation([[1], [0]], ids=["a", "b"])
    after = evaluation([[1], [1]], valid=[[0], [1]], ids=["a", "b"])
    found = paired_comparison(before, after)
    assert (found.problems, found.before, found.after) == (1, 0.0, 1.0)
    assert isnan(found.low)
    assert paired_comparison(before, evaluation([[1], [1]], valid=[[0], [0]], ids=["a", "b"])).problems == 0
