"""Scores before and after, as a table for the terminal."""

from collections.abc import Sequence
from math import isnan, nan
from typing import TYPE_CHECKING

import numpy as np

from gppo.evaluate.paired import paired_difference
from gppo.evaluate.statistics import Score, score, summarise
from gppo.types import Evaluation

if TYPE_CHECKING:
    from rich.table import Table

NOTHING = "–"


def before_after_table(before: Sequence[Evaluation], after: Sequence[Evaluation]) -> "Table":
    """Accuracy in percent, before and after, for every evaluation name: all problems, then each difficulty.

    Every number carries its question-level standard error; the difference is paired problem by problem. A name that
    only one side has keeps its row, with a dash on the other side.

    Args:
        before: evaluations of the starting model, each name once.
        after: evaluations of the trained one.

    Raises:
        UserError: two evaluations of one name hold different problems.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Accuracy, %", caption="± one standard error over problems; differences are paired by problem")
    table.add_column("sampling")
    table.add_column("problems")
    for heading in ("before", "after", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    before_of = {evaluation.name: evaluation for evaluation in before}
    after_of = {evaluation.name: evaluation for evaluation in after}
    for name in dict.fromkeys([*before_of, *after_of]):
        table.add_section()
        for cells in _rows(name, before_of.get(name), after_of.get(name)):
            table.add_row(*map(escape, cells))
    return table


def score_table(evaluations: Sequence[Evaluation]) -> "Table":
    """avg@k with both standard errors, pass@k, lengths and truncation, one row for each evaluation.

    Args:
        evaluations: each way of sampling each set.
    """
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Accuracy, %", caption="± standard error over problems, then over samples of these problems")
    table.add_column("set and sampling")
    for heading in ("problems", "k", "avg@k", "± problems", "± samples", "pass@k", "mean tokens", "truncated"):
        table.add_column(heading, justify="right", no_wrap=True)
    for evaluation in evaluations:
        summary = summarise(evaluation)
        found = summary.score
        best = max(summary.pass_at, default=0)
        table.add_row(
            escape(evaluation.name),
            str(found.problems),
            str(evaluation.correct_PK.shape[1]),
            *(_percent(share, nan) for share in (found.avg, found.se_question, found.se_sampling)),
            f"{_percent(summary.pass_at[best], nan)} (k={best})" if best else NOTHING,
            NOTHING if isnan(summary.mean_length) else f"{summary.mean_length:.0f}",
            _percent(summary.truncated_share, nan),
        )
    return table


def _rows(name: str, before: Evaluation | None, after: Evaluation | None) -> list[tuple[str, ...]]:
    present = [evaluation for evaluation in (before, after) if evaluation is not None]
    labels = sorted({label for evaluation in present for label in evaluation.difficulty} - {""})
    rows = []
    for label in ["", *labels]:
        cells = [_score_cell(evaluation, label) for evaluation in (before, after)]
        difference = NOTHING
        if before is not None and after is not None:
            paired = paired_difference(before, after, _select(before, label))
            difference = _percent(paired.mean, paired.se, signed=True)
        rows.append((name if not label else "", label or "all", *cells, difference))
    return rows


def _select(evaluation: Evaluation, label: str) -> np.ndarray | None:
    return np.asarray(evaluation.difficulty, dtype=object) == label if label else None


def _score_cell(evaluation: Evaluation | None, label: str) -> str:
    if evaluation is None:
        return NOTHING
    found: Score = score(evaluation, _select(evaluation, label))
    return _percent(found.avg, found.se_question)


def _percent(share: float, se: float, signed: bool = False) -> str:
    if isnan(share):
        return NOTHING
    value = f"{100 * share:+.1f}" if signed else f"{100 * share:.1f}"
    return value if isnan(se) else f"{value} ± {100 * se:.1f}"
