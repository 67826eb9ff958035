"""Scores with their error bars: avg@k, pass@k, standard errors, paired differences.

Two standard errors answer two questions. The question-level one asks how the score would move with *other problems*
from the same source; the sampling-only one asks how it would move with *other samples* of the same problems. Both are
those of https://arxiv.org/abs/2411.00640.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan, sqrt

import numpy as np

from gppo.types import Evaluation, UserError

Z_95 = 1.959963984540054  # the 97.5 % point of the standard normal


@dataclass(frozen=True, slots=True)
class Score:
    """Accuracy of one group of problems. Shares are in [0, 1]; a standard error is NaN where it is undefined.

    Args:
        avg: avg@k, the mean over problems of correct / valid.
        se_question: standard error over problems; NaN for fewer than two.
        se_sampling: standard error over samples of these problems; NaN where a problem has one valid sample.
        problems: problems that count.
        unjudged: problems left out because no sample of theirs could be judged.
    """

    avg: float
    se_question: float
    se_sampling: float
    problems: int
    unjudged: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What is said about one evaluation. ``score`` is over all problems, ``by_difficulty`` over each label.

    Args:
        score: over all problems.
        by_difficulty: label -> score, sorted by label; empty where no problem has a label.
        pass_at: k -> pass@k for k = 1, 2, 4, ... and the largest k that every counted problem has samples for.
        mean_length: tokens, over the valid samples; NaN without any.
        truncated_share: share of the valid samples that were cut, in [0, 1]; NaN without any.
        samples: valid samples.
        invalid_samples: samples left out because the judge itself failed.
    """

    score: Score
    by_difficulty: dict[str, Score] = field(default_factory=dict)
    pass_at: dict[int, float] = field(default_factory=dict)
    mean_length: float = nan
    truncated_share: float = nan
    samples: int = 0
    invalid_samples: int = 0


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """``after - before`` on the same problems: mean, standard error over problems, 95 % interval, problems paired."""

    mean: float
    se: float
    low: float
    high: float
    problems: int


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that at least one of k samples is right, unbiased from c right ones among n.

    1 - C(n-c, k) / C(n, k), written as 1 - prod_{i=n-c+1..n} (1 - k/i), which never forms a large binomial
    (https://arxiv.org/abs/2107.03374, section 2.1).

    Raises:
        ValueError: unless 0 <= c <= n and 1 <= k <= n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def problem_means(evaluation: Evaluation) -> np.ndarray:
    """float64 [P]: correct / valid of every problem, NaN where it has no valid sample."""
    valid_P, correct_P = _counts(evaluation)
    return np.divide(correct_P, valid_P, out=np.full(len(valid_P), nan), where=valid_P > 0)


def score(evaluation: Evaluation, select_P: np.ndarray | None = None) -> Score:
    """The accuracy of the selected problems with both standard errors.

    se_question = std_i(p_i, ddof=1) / sqrt(P);  se_sampling = sqrt(sum_i p_i (1 - p_i) / (n_i - 1)) / P.

    Args:
        evaluation: the judged samples.
        select_P: bool [P], which problems; all of them where not given.
    """
    valid_P, correct_P = _counts(evaluation)
    if select_P is not None:
        valid_P, correct_P = valid_P[select_P], correct_P[select_P]
    judged_P = valid_P > 0
    n, c = valid_P[judged_P], correct_P[judged_P]
    unjudged = int((~judged_P).sum())
    count = len(n)
    if count == 0:
        return Score(nan, nan, nan, 0, unjudged)
    p = c / n
    se_question = float(np.std(p, ddof=1) / sqrt(count)) if count > 1 else nan
    se_sampling = float(np.sqrt(np.sum(p * (1 - p) / (n - 1))) / count) if n.min() > 1 else nan
    return Score(float(p.mean()), se_question, se_sampling, count, unjudged)


def summarise(evaluation: Evaluation) -> Summary:
    """Every number that is shown about one evaluation."""
    valid_P, correct_P = _counts(evaluation)
    n, c = valid_P[valid_P > 0], correct_P[valid_P > 0]
    valid_PK = evaluation.valid_PK.astype(bool)
    samples = int(valid_PK.sum())
    labels = np.asarray(evaluation.difficulty, dtype=object)
    return Summary(
        score=score(evaluation),
        by_difficulty={
            label: score(evaluation, labels == label) for label in sorted(set(evaluation.difficulty) - {""})
        },
        pass_at={
            k: float(np.mean([pass_at_k(int(ni), int(ci), k) for ni, ci in zip(n, c, strict=True)]))
            for k in _ladder(int(n.min()) if len(n) else 0)
        },
        mean_length=float(evaluation.lengths_PK[valid_PK].mean()) if samples else nan,
        truncated_share=float(evaluation.truncated_PK[valid_PK].mean()) if samples else nan,
        samples=samples,
        invalid_samples=int(valid_PK.size) - samples,
    )


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
    difference_P = problem_means(after)[order_P] - problem_means(before)
    if select_P is not None:
        difference_P = difference_P[select_P]
    difference_P = difference_P[~np.isnan(difference_P)]
    count = len(difference_P)
    if count == 0:
        return PairedDifference(nan, nan, nan, nan, 0)
    mean = float(difference_P.mean())
    se = float(np.std(difference_P, ddof=1) / sqrt(count)) if count > 1 else nan
    return PairedDifference(mean, se, mean - Z_95 * se, mean + Z_95 * se, count)


def across_seeds(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error over seeds of one score each; the error is NaN for a single seed.

    Raises:
        ValueError: there is no value.
    """
    if not len(values):
        raise ValueError("across_seeds needs at least one value")
    values_S = np.asarray(values, dtype=np.float64)
    se = float(np.std(values_S, ddof=1) / sqrt(len(values_S))) if len(values_S) > 1 else nan
    return float(values_S.mean()), se


def _counts(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    """int64 [P] valid samples and int64 [P] right ones among them."""
    valid_PK = evaluation.valid_PK.astype(bool)
    return valid_PK.sum(axis=1), (evaluation.correct_PK.astype(bool) & valid_PK).sum(axis=1)


def _ladder(largest: int) -> list[int]:
    """1, 2, 4, ... below ``largest``, and ``largest``."""
    return sorted({2**i for i in range(largest.bit_length())} | {largest}) if largest else []
