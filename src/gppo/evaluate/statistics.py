"""Scores with their error bars: avg@k, pass@k, majority@k, standard errors, intervals, lengths.

Two standard errors answer two questions. The question-level one asks how the score would move with *other problems*
from the same source; the sampling-only one asks how it would move with *other samples* of the same problems. Both are
those of https://arxiv.org/abs/2411.00640.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan, sqrt

import numpy as np

from gppo.evaluate.intervals import bootstrap_interval
from gppo.types import Evaluation


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
class Lengths:
    """How long some samples are, in tokens; NaN where there are none.

    Args:
        samples: how many.
        mean, median, p90: of their lengths.
        truncated: share of them that were cut, in [0, 1].
    """

    samples: int
    mean: float
    median: float
    p90: float
    truncated: float


@dataclass(frozen=True, slots=True)
class Summary:
    """What is said about one evaluation. ``score`` is over all problems, ``by_difficulty`` over each label.

    Args:
        score: over all problems.
        by_difficulty: label -> score, sorted by label; empty where no problem has a label.
        pass_at: k -> pass@k for k = 1, 2, 3, ... up to the largest that every counted problem has samples for.
        majority: majority@k over all samples, in [0, 1]; NaN where answers cast no votes, as programs do not.
        interval: 95 % interval of avg@k over other questions; see ``bootstrap_interval``.
        lengths: of "all", "correct" and "wrong" samples.
        mean_length: tokens, over the valid samples; NaN without any.
        truncated_share: share of the valid samples that were cut, in [0, 1]; NaN without any.
        samples: valid samples.
        invalid_samples: samples left out because the judge itself failed.
    """

    score: Score
    by_difficulty: dict[str, Score] = field(default_factory=dict)
    pass_at: dict[int, float] = field(default_factory=dict)
    majority: float = nan
    interval: tuple[float, float] = (nan, nan)
    lengths: dict[str, Lengths] = field(default_factory=dict)
    mean_length: float = nan
    truncated_share: float = nan
    samples: int = 0
    invalid_samples: int = 0


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


def pass_curve(n_P: np.ndarray, c_P: np.ndarray) -> np.ndarray:
    """pass@k of every problem for k = 1 .. the smallest n, float64 [P, K]; each as by ``pass_at_k``.

    The chance that k draws all miss is prod_{j < k} (n - c - j) / (n - j).
    """
    j_K = np.arange(int(n_P.min()) if len(n_P) else 0)
    missed_PK = np.maximum(n_P[:, None] - c_P[:, None] - j_K, 0) / (n_P[:, None] - j_K)
    return 1.0 - np.cumprod(missed_PK, axis=1)


def majority(evaluation: Evaluation) -> np.ndarray:
    """float64 [P]: whether the answer given most often is right, NaN where no sample is valid.

    Votes are over classes of equal answers (https://arxiv.org/abs/2203.11171). Samples without an answer, and cut ones,
    cast none; a problem without votes counts 0. Of classes with as many votes each is as likely to be taken, so their
    mean counts. A class is as right as its members: where the judge calls them all the same, 0 or 1.

    Raises:
        ValueError: the evaluation holds no votes.
    """
    if evaluation.votes_PK is None:
        raise ValueError(f"'{evaluation.name}' holds no votes")
    out_P = np.full(len(evaluation.problem_ids), nan)
    for i, (votes_K, right_K, valid_K) in enumerate(
        zip(evaluation.votes_PK, evaluation.correct_PK.astype(bool), evaluation.valid_PK.astype(bool), strict=True)
    ):
        if not valid_K.any():
            continue
        votes, right = votes_K[valid_K], right_K[valid_K]
        counts = np.bincount(votes[votes >= 0])
        tied = np.flatnonzero(counts == counts.max()) if len(counts) else ()
        out_P[i] = np.mean([right[votes == one].mean() for one in tied]) if len(tied) else 0.0
    return out_P


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
    right_PK = evaluation.correct_PK.astype(bool) & valid_PK
    labels = np.asarray(evaluation.difficulty, dtype=object)
    lengths = {
        name: _lengths(evaluation, chosen_PK)
        for name, chosen_PK in (("all", valid_PK), ("correct", right_PK), ("wrong", valid_PK & ~right_PK))
    }
    majority_P = np.array([]) if evaluation.votes_PK is None else majority(evaluation)[valid_P > 0]
    return Summary(
        score=score(evaluation),
        by_difficulty={
            label: score(evaluation, labels == label) for label in sorted(set(evaluation.difficulty) - {""})
        },
        pass_at={k: float(value) for k, value in enumerate(pass_curve(n, c).mean(axis=0), start=1)} if len(n) else {},
        majority=float(majority_P.mean()) if len(majority_P) else nan,
        interval=bootstrap_interval(c / n),
        lengths=lengths,
        mean_length=lengths["all"].mean,
        truncated_share=lengths["all"].truncated,
        samples=lengths["all"].samples,
        invalid_samples=int(valid_PK.size) - lengths["all"].samples,
    )


def _lengths(evaluation: Evaluation, chosen_PK: np.ndarray) -> Lengths:
    lengths, truncated = evaluation.lengths_PK[chosen_PK], evaluation.truncated_PK[chosen_PK]
    if not len(lengths):
        return Lengths(0, nan, nan, nan, nan)
    median, p90 = np.quantile(lengths, (0.5, 0.9))
    return Lengths(len(lengths), float(lengths.mean()), float(median), float(p90), float(truncated.mean()))


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
