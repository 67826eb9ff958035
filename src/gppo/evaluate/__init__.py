"""Score a model: judged samples in, accuracies with their error bars out."""

from gppo.evaluate.intervals import bootstrap_interval, sign_flip_p
from gppo.evaluate.paired import PairedComparison, PairedDifference, paired_comparison, paired_difference
from gppo.evaluate.statistics import (
    Lengths,
    Score,
    Summary,
    across_seeds,
    majority,
    pass_at_k,
    pass_curve,
    problem_means,
    score,
    summarise,
)
from gppo.evaluate.store import (
    evaluation_path,
    last_evaluations,
    load_evaluation,
    load_evaluations,
    save_evaluation,
    summary_to_json,
)
from gppo.evaluate.table import before_after_table, score_table

__all__ = [
    "Lengths",
    "PairedComparison",
    "PairedDifference",
    "Score",
    "Summary",
    "across_seeds",
    "before_after_table",
    "bootstrap_interval",
    "evaluation_path",
    "last_evaluations",
    "load_evaluation",
    "load_evaluations",
    "majority",
    "paired_comparison",
    "paired_difference",
    "pass_at_k",
    "pass_curve",
    "problem_means",
    "save_evaluation",
    "score",
    "score_table",
    "sign_flip_p",
    "summarise",
    "summary_to_json",
]
