"""Score a model: judged samples in, accuracies with their error bars out."""

from gppo.evaluate.statistics import (
    PairedDifference,
    Score,
    Summary,
    across_seeds,
    paired_difference,
    pass_at_k,
    problem_means,
    score,
    summarise,
)
from gppo.evaluate.store import (
    evaluation_path,
    load_evaluation,
    load_evaluations,
    save_evaluation,
    summary_to_json,
)
from gppo.evaluate.table import before_after_table, score_table

__all__ = [
    "PairedDifference",
    "Score",
    "Summary",
    "across_seeds",
    "before_after_table",
    "evaluation_path",
    "load_evaluation",
    "load_evaluations",
    "paired_difference",
    "pass_at_k",
    "problem_means",
    "save_evaluation",
    "score",
    "score_table",
    "summarise",
    "summary_to_json",
]
