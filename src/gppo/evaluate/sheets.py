"""Tables that could stand in a paper: scores and paired comparisons, as Markdown, LaTeX (booktabs) and CSV."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from gppo.evaluate.paired import PairedComparison, paired_comparison
from gppo.evaluate.statistics import Summary, summarise
from gppo.types import Evaluation
from gppo.types.files import atomic_file

if TYPE_CHECKING:
    from rich.table import Table

NOTHING = "–"
_LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "±": r"$\pm$"}


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table of texts.

    Args:
        title: what it shows.
        headings: of the columns; the first is words, the others are numbers.
        rows: cells.
        note: what its numbers mean.
        numbers: the same and more as plain numbers, for CSV: column -> value in each row.
    """

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str
    numbers: list[dict[str, str | int | float]]


def score_sheet(evaluations: Sequence[Evaluation]) -> Sheet:
    """One row for each evaluation: avg@k, its error bars and interval, pass@k, majority@k, lengths, truncation."""
    rows, numbers = [], []
    for evaluation in evaluations:
        summary, k = summarise(evaluation), evaluation.correct_PK.shape[1]
        score, best = summary.score, max(summary.pass_at, default=0)
        rows.append(
            (
                evaluation.name,
                str(score.problems),
                str(k),
                _percent(score.avg),
                _range(*summary.interval),
                _percent(score.se_question),
                _percent(score.se_sampling),
                _percent(summary.pass_at.get(best)) + (f" (k={best})" if best and best != k else ""),
                _percent(summary.majority),
                _whole(summary.mean_length),
                _whole(summary.lengths["correct"].mean),
                _whole(summary.lengths["wrong"].mean),
                _percent(summary.truncated_share),
            )
        )
        numbers.append(_score_numbers(evaluation.name, k, summary))
    headings = ("set", "problems", "k", "avg@k", "95 % CI", "SE questions", "SE samples", "pass@k", "maj@k", "tokens",
                "correct", "wrong", "cut")  # fmt: skip
    note = (
        "In %. CI: bootstrap over questions. SE: over questions, and over samples of these questions. tokens: mean "
        "length of all, of correct and of wrong responses. cut: responses that reached the limit, never correct."
    )
    return Sheet("Accuracy", headings, rows, note, numbers)


def comparison_sheet(
    first: Sequence[Evaluation], second: Sequence[Evaluation], names: tuple[str, str] = ("first", "second")
) -> Sheet:
    """One row for each evaluation that both have, by name: both accuracies, their difference, its interval and p.

    Raises:
        UserError: evaluations of one name hold different problems.
    """
    other = {evaluation.name: evaluation for evaluation in second}
    rows, numbers = [], []
    for evaluation in first:
        if evaluation.name not in other:
            continue
        found = paired_comparison(evaluation, other[evaluation.name])
        rows.append(
            (
                evaluation.name,
                str(found.problems),
                _percent(found.before),
                _percent(found.after),
                _percent(found.mean, signed=True),
                _range(found.low, found.high, signed=True),
                _percent(found.se),
                p_value(found.p),
                str(found.better),
                str(found.worse),
            )
        )
        numbers.append(_comparison_numbers(evaluation.name, found))
    headings = ("set", "problems", *names, "difference", "95 % CI", "SE", "p", "better", "worse")
    note = (
        "In %. Differences are paired by question. CI: bootstrap over questions. p: two-sided, by flipping signs of "
        "the questions' differences. better, worse: questions."
    )
    return Sheet(f"{names[1]} against {names[0]}", headings, rows, note, numbers)


def markdown(sheet: Sheet) -> str:
    """The table in Markdown, its note below it."""
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in sheet.rows]
    rule = ["---", *["---:"] * (len(sheet.headings) - 1)]
    lines = ["| " + " | ".join(cells) + " |" for cells in (sheet.headings, rule, *escaped)]
    return "\n".join([*lines, "", sheet.note, ""])


def latex(sheet: Sheet) -> str:
    """The table in LaTeX; needs the package booktabs."""

    def line(cells: Sequence[str]) -> str:
        return "  " + " & ".join(map(_escaped, cells)) + r" \\"

    return "\n".join(
        [
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_escaped(sheet.title)}. {_escaped(sheet.note)}}}",
            rf"  \begin{{tabular}}{{l{'r' * (len(sheet.headings) - 1)}}}",
            r"  \toprule",
            line(sheet.headings),
            r"  \midrule",
            *map(line, sheet.rows),
            r"  \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def csv_text(sheet: Sheet) -> str:
    """Every number as it is, shares in [0, 1], in CSV; what is undefined is empty."""
    columns = list(dict.fromkeys(column for row in sheet.numbers for column in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    for row in sheet.numbers:
        writer.writerow({key: "" if isinstance(value, float) and isnan(value) else value for key, value in row.items()})
    return out.getvalue()


def rich_table(sheet: Sheet, without: Sequence[str] = ()) -> "Table":
    """The table for a terminal, which may be narrow: without the columns of these headings."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(sheet.title), caption=escape(sheet.note))
    shown = [i for i, heading in enumerate(sheet.headings) if heading not in without]
    for i in shown:
        table.add_column(escape(sheet.headings[i]), justify="right" if i else "left", no_wrap=bool(i))
    for row in sheet.rows:
        table.add_row(*(escape(row[i]) for i in shown))
    return table


def write_sheet(sheet: Sheet, folder: Path, stem: str) -> list[Path]:
    """Write ``<stem>.md``, ``<stem>.tex`` and ``<stem>.csv`` into a folder and return their paths."""
    paths = []
    for suffix, text in ((".md", markdown(sheet)), (".tex", latex(sheet)), (".csv", csv_text(sheet))):
        paths.append(folder / f"{stem}{suffix}")
        with atomic_file(paths[-1]) as file:
            file.write(text.encode())
    return paths


def p_value(p: float) -> str:
    """A p-value with as many digits as it deserves."""
    return NOTHING if isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def _score_numbers(name: str, k: int, summary: Summary) -> dict[str, str | int | float]:
    score = summary.score
    lengths = {
        f"{what}_{key}": value
        for what, found in summary.lengths.items()
        for key, value in (("samples", found.samples), ("tokens_mean", found.mean), ("tokens_median", found.median),
                           ("tokens_p90", found.p90), ("truncated", found.truncated))
    }  # fmt: skip
    return {
        "set": name,
        "problems": score.problems,
        "unjudged_problems": score.unjudged,
        "unjudged_samples": summary.invalid_samples,
        "k": k,
        "avg": score.avg,
        "ci_low": summary.interval[0],
        "ci_high": summary.interval[1],
        "se_question": score.se_question,
        "se_sampling": score.se_sampling,
        "majority": summary.majority,
        **lengths,
        **{f"pass@{n}": value for n, value in summary.pass_at.items()},
    }


def _comparison_numbers(name: str, found: PairedComparison) -> dict[str, str | int | float]:
    return {
        "set": name,
        "problems": found.problems,
        "first": found.before,
        "second": found.after,
        "difference": found.mean,
        "ci_low": found.low,
        "ci_high": found.high,
        "se": found.se,
        "p": found.p,
        "better": found.better,
        "worse": found.worse,
    }


def _percent(share: float | None, *, signed: bool = False) -> str:
    if share is None or isnan(share):
        return NOTHING
    return f"{100 * share:+.1f}" if signed else f"{100 * share:.1f}"


def _range(low: float, high: float, *, signed: bool = False) -> str:
    if isnan(low):
        return NOTHING
    return f"[{_percent(low, signed=signed)}, {_percent(high, signed=signed)}]"


def _whole(number: float) -> str:
    """Tokens; a length of 0 means that nobody counted."""
    return NOTHING if isnan(number) or number == 0 else f"{number:.0f}"


def _escaped(text: str) -> str:
    return re.sub(r"[\\~^–±&%$#_{}]", lambda sign: _LATEX.get(sign.group(), "\\" + sign.group()), text)
