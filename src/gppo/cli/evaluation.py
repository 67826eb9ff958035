"""What ``gppo eval --from-outputs`` and ``gppo compare`` do. Neither loads torch."""

from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from gppo.evaluate import last_evaluations, score_table
from gppo.evaluate.outputs import COLUMNS, read_outputs
from gppo.evaluate.rescore import rescore
from gppo.evaluate.sheets import comparison_sheet, rich_table, score_sheet, write_sheet
from gppo.run import progress
from gppo.types import Evaluation, UserError
from gppo.verify.cases import CaseJudge


def rescore_file(
    source: Path,
    run: Path | None,
    *,
    benchmark: str | None,
    data: Path | None,
    columns: Sequence[str],
    lenient: bool,
    workers: int,
    timeout: float,
) -> None:
    """Score a file of outputs, write results and tables to ``<run>/evaluations``, and print the table."""
    outputs = read_outputs(source, benchmark=benchmark, data=data, columns=_columns(columns))
    name = benchmark or source.name.partition(".")[0]
    folder = (run or Path("runs") / name) / "evaluations"
    with (
        CaseJudge(workers, timeout, tests_per_problem=None, lenient=lenient) as judge,
        progress("Judging", len(outputs)) as bar,
    ):
        found = rescore(
            outputs,
            judge,
            folder,
            name=name,
            how="lenient" if lenient else "",
            on_judged=lambda count: bar.advance(count - bar.done),
        )
    Console().print(score_table([found.evaluation]))
    if found.labelled:
        share = found.agreed / found.labelled
        typer.echo(f"Agrees with the file's own labels on {found.agreed} of {found.labelled} responses ({share:.2%})")
    for path in write_sheet(score_sheet([found.evaluation]), folder, "table"):
        typer.echo(path)


def compare_runs(folders: tuple[Path, Path], out: Path | None) -> None:
    """Print how the second run differs from the first on what both evaluated last; write it as well where asked."""
    first, second = map(_last, folders)
    sheet = comparison_sheet(first, second, (folders[0].name, folders[1].name))
    if not sheet.rows:
        held = "; ".join(f"{folder}: {', '.join(one.name for one in found) or 'nothing'}"
                         for folder, found in zip(folders, (first, second), strict=True))  # fmt: skip
        raise UserError(f"the two runs evaluated nothing of the same name ({held}); evaluate both on one set")
    Console().print(rich_table(sheet, without=("problems", "SE")))
    if out is not None:
        for path in write_sheet(sheet, out.parent, out.name):
            typer.echo(path)


def _last(folder: Path) -> list[Evaluation]:
    """The last evaluation of each name, of a run folder or of a folder of evaluations."""
    inner = folder / "evaluations"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a run's")
    return list(last_evaluations(inner if inner.is_dir() else folder).values())


def _columns(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        key, equals, name = pair.partition("=")
        if not equals or key not in COLUMNS or not name:
            raise UserError(f"--column {pair}: write KEY=NAME with a key of {', '.join(COLUMNS)}")
        found[key] = name
    return found
