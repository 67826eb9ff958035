"""One call: a run folder in, ``report.html`` in it out."""

from pathlib import Path

from gppo.report.page import render
from gppo.report.reading import read_run
from gppo.run import RunFolder
from gppo.types.files import atomic_file


def write_report(run_path: Path, title: str | None = None) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    The file is self-contained: it loads nothing, works from disk, and may be sent as it is. Sections without data are
    left out, so a run that was stopped half way, or that only evaluated, has a report too.

    Args:
        run_path: the run folder.
        title: the heading; the recipe's name where not given.

    Raises:
        UserError: there is no run in the folder, or an evaluation in it is damaged.
        GppoError: the metrics or rollouts are damaged, or the disk is full.
    """
    run_path = Path(run_path)
    page = render(read_run(run_path), title)
    path = RunFolder(run_path).report
    with atomic_file(path) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
    return path
