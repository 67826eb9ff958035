"""Two evaluations of the same questions, compared question by question."""

from dataclasses import dataclass
from math import nan, sqrt

import numpy as np

from gppo.evaluate.intervals import bootstrap_interval, sign_flip_p
from gppo.evaluate.statistics import problem_means
from gppo.types import Evaluation, UserError

Z_95 = 1.959963984540054  # the 97.5 % point of the standard normal


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """``after - before`` on the same problems: mean, standard error over problems, 95 % interval, problems paired."""

    mean: float
    se: float
    low: float
    high: float
    problems: int


@dataclass(frozen=True, slots=True)
class PairedComparison:
    """Two models on the same questions, the second minus the first. Shares are in [0, 1].

    Args:
        before: the first one's accuracy on the questions that both answered.
        after: the second one's.
        mean: the difference.
        se: its standard error over questions, NaN for fewer than two.
        low, high: its 95 % interval over questions; see ``bootstrap_interval``.
        p: two-sided p-value of "no difference"; see ``sign_flip_p``.
        problems: questions that count.
        better, worse: questions on which the second one is better, or worse.
    """

    before: float
    after: float
    mean: float
    se: float
    low: float
    high: float
    p: float
    problems: int
    better: int
    worse: int


def paired_difference(before: Evaluation, after: Evaluation, select_P: np.ndarray | None = None) -> PairedDifference:
    """``after - before`` problem by problem, which removes the spread between problems from the error bar.

    d_i = after_i - before_i;  mean(d) +- 1.96 * std(d, ddof=1) / sqrt(P). Problems that either side could not judge
    are left out. The order of the problems may differ.

    Args:
        before: one evaluation.
        after: another one on the same problems.
        select_P: bool [P] in the order of ``before``, which problems; all of them where not given.

    Raises:
        UserError: the two hold different problems, or one holds a problem twice.
    """
    before_P, after_P = _paired_means(before, after, select_P)
    difference_P = after_P - before_P
    count = len(difference_P)
    if count == 0:
        return PairedDifference(nan, nan, nan, nan, 0)
    mean = float(difference_P.mean())
    se = float(np.std(difference_P, ddof=1) / sqrt(count)) if count > 1 else nan
    return PairedDifference(mean, se, mean - Z_95 * se, mean + Z_95 * se, count)


def paired_comparison(before: Evaluation, after: Evaluation, *, seed: int = 0) -> PairedComparison:
    """Compare two models question by question: difference, interval, p-value. Errors as from ``paired_difference``.

    d_i = after_i - before_i, the difference of the shares of right samples. Each side may have its own k. The spread
    between questions, most of either one's error bar, is gone from the difference's.

    Args:
        before: one model's evaluation.
        after: the other's, on the same questions in any order.
        seed: of the bootstrap and the sign flips.
    """
    before_P, after_P = _paired_means(before, after, None)
    difference_P = after_P - before_P
    count = len(difference_P)
    if count == 0:
        return PairedComparison(nan, nan, nan, nan, nan, nan, nan, 0, 0, 0)
    low, high = bootstrap_interval(difference_P, seed=seed)
    return PairedComparison(
        before=float(before_P.mean()),
        after=float(after_P.mean()),
        mean=float(difference_P.mean()),
        se=float(np.std(difference_P, ddof=1) / sqrt(count)) if count > 1 else nan,
        low=low,
        high=high,
        p=sign_flip_p(difference_P, seed=seed),
        problems=count,
        better=int((difference_P > 0).sum()),
        worse=int((difference_P < 0).sum()),
    )


def _paired_means(before: Evaluation, after: Evaluation, select_P: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The means of the problems that both sides could judge, in the order of ``before``."""
    for side in (before, after):
        if len(set(side.problem_ids)) != len(side.problem_ids):
            raise UserError(
                f"'{side.name}' at step {side.step} holds a problem id twice: give every problem of the set its own id"
            )
    if set(before.problem_ids) != set(after.problem_ids):
        odd = min(set(before.problem_ids) ^ set(after.problem_ids))
        raise UserError(
            f"'{before.name}' at step {before.step} and '{after.name}' at step {after.step} hold different problems, "
            f"e.g. '{odd}': a paired difference needs the same set; evaluate both on it"
        )
    row_of = {problem: row for row, problem in enumerate(after.problem_ids)}
    order_P = np.array([row_of[problem] for problem in before.problem_ids], dtype=np.int64)
    before_P, after_P = problem_means(before), problem_means(after)[order_P]
    both_P = ~np.isnan(before_P) & ~np.isnan(after_P)
    if select_P is not None:
        both_P &= select_P
    return before_P[both_P], after_P[both_P]
