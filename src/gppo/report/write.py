"""One call: a run folder in, ``report.html`` and ``microscope.html`` in it out."""

from pathlib import Path

from gppo.report.microscope import write_microscope
from gppo.report.page import render
from gppo.report.reading import read_run
from gppo.report.tokens import Choice
from gppo.run import RunFolder
from gppo.types.files import atomic_file


def write_report(run_path: Path, title: str | None = None, choice: Choice | None = None) -> Path:
    """Write ``report.html`` into a run folder and return its path; with saved rollouts, ``microscope.html`` beside it.

    The files are self-contained: they load nothing, work from disk, and may be sent as they are. Sections without data
    are left out, so a run that was stopped half way, or that only evaluated, has a report too.

    Args:
        run_path: the run folder.
        title: the heading; the recipe's name where not given.
        choice: which rollouts the microscope holds.

    Raises:
        UserError: there is no run in the folder, an evaluation in it is damaged, or a step or problem that was chosen
            is not there.
        GppoError: the metrics or rollouts are damaged, or the disk is full.
    """
    run_path = Path(run_path)
    data = read_run(run_path)
    run = RunFolder(run_path)
    title = title or str(data.recipe.get("name") or run_path.name)
    microscope = write_microscope(run, data.recipe, title, choice or Choice())
    page = render(data, title, microscope=microscope.name if microscope else "")
    with atomic_file(run.report) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
    return run.report
