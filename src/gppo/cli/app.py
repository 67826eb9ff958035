"""The command's root, and the options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from gppo import __version__

app = typer.Typer(
    name="gppo",
    help="Train reasoning models by gradient-preserving clipping (GPPO): curate, SFT, RL, evaluate, report.",
    epilog="Start with `gppo demo`: the whole pipeline, offline, in minutes. "
    "Exit status: 0 done, 2 bad input or usage, 1 failure, 130 stopped by Ctrl-C, 143 by SIGTERM.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
verify_app = typer.Typer(no_args_is_help=True, help="Judge answers without training anything.")
app.add_typer(verify_app, name="verify")

RecipeFile = Annotated[Path, typer.Argument(metavar="RECIPE", help="A YAML file; see recipes/.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a value, e.g. rl.learning_rate=1e-6. Repeatable."),
]
Engine = Annotated[Literal["local", "verl"], typer.Option(help="This machine, or verl on Ray; see docs/cluster.md.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="With --engine verl: print its command and start nothing.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start anew; an older run in the folder is moved aside.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"gppo {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of the command itself."""
