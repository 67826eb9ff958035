"""The commands that look and change nothing: plan, doctor, report, watch."""

from pathlib import Path
from typing import Annotated

import typer

from gppo.cli.app import Overrides, RecipeFile, app


@app.command()
def plan(
    recipe_file: RecipeFile,
    gpus: Annotated[
        str | None, typer.Option(metavar="8xH100-80", help="Plan for such GPUs; without it, for this machine.")
    ] = None,
    price: Annotated[float | None, typer.Option(help="Of one device for an hour, in any currency.", min=0)] = None,
    mean_length: Annotated[
        float,
        typer.Option(help="Share of the longest length that is reached on average; for time.", min=0, max=1),
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="One line of JSON: bytes and seconds.")] = False,
    overrides: Overrides = None,
) -> None:
    """What a run will need before it starts: memory by part, time, disk, price, and what to change where it won't fit.

    Needs neither torch nor weights: the model's shape comes from its config.json. Exit status 1 where it does not fit.
    """
    import json

    from rich.console import Console

    from gppo.config import load_recipe
    from gppo.plan import advice, here, room, show
    from gppo.plan import gpus as gpus_of
    from gppo.plan import plan as plan_of

    recipe = load_recipe(recipe_file, overrides or [])
    machine = gpus_of(gpus) if gpus else here(recipe.device)
    found = plan_of(recipe, machine, mean_length=mean_length, price=price)
    fitting, changes = room(found), advice(found)
    if as_json:
        typer.echo(json.dumps(show.as_json(found, fitting, changes)))
    else:
        Console(highlight=False).print(show.rendered(found, fitting, changes))
    if not found.fits:
        raise typer.Exit(1)


@app.command()
def doctor(
    folder: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="Where runs will be kept.")] = Path("runs"),
) -> None:
    """Look at this machine: versions, devices, engines, the sandbox's isolation and why, disk, memory and limits.

    Exit status 1 where something needs to be done.
    """
    from rich.console import Console

    from gppo.cli.doctor import examine, findings_table

    findings = examine(folder)
    Console().print(findings_table(findings))
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.", show_default=False)],
    steps: Annotated[
        list[int] | None, typer.Option("--step", help="Of this step the microscope shows rollouts. Repeatable.")
    ] = None,
    problems: Annotated[
        list[str] | None, typer.Option("--problem", metavar="ID", help="Only rollouts of this problem. Repeatable.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="About how many tokens the microscope holds.", min=1)] = 400_000,
    out: Annotated[
        Path, typer.Option("--out", metavar="HTML", help="Where the comparison of several runs goes.")
    ] = Path("comparison.html"),
) -> None:
    """Write report.html and microscope.html into each run folder; of several runs, a comparison too.

    Each is one self-contained page. The microscope shows saved rollouts token by token: which tokens an objective
    drops, and which another gives back. Where a run has saved more than fits, --step, --problem and --tokens choose.
    """
    from gppo.report import Choice, write_report

    choice = Choice(tuple(steps or ()), tuple(problems or ()), tokens)
    for folder in folders:
        typer.echo(write_report(folder, choice=choice))
    if len(folders) > 1:
        from gppo.cli.compare import differences_of
        from gppo.report import write_comparison

        typer.echo(write_comparison(folders, out, differences_of(folders)))


@app.command()
def watch(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, begun or not.", show_default=False)],
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end, for scripts.")] = False,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2)] = 2.0,
) -> None:
    """A run in the terminal, live: reward, entropy, gradient norm, clipping, pace and the last response.

    Reads only the run folder, so it works over ssh and beside any run. Ctrl-C ends it; the run goes on.
    """
    from contextlib import suppress

    from rich.console import Console

    from gppo.report.watch import watch as show

    with suppress(KeyboardInterrupt):
        show(folder, Console(), once=once, every=every)
