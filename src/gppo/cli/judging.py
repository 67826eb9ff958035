"""The commands that judge: eval, compare, verify."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from gppo.cli.app import Fresh, Overrides, app, verify_app
from gppo.cli.starting import done, load, start
from gppo.types import UserError


@app.command("eval")
def evaluate(
    recipe_file: Annotated[
        Path | None, typer.Argument(metavar="RECIPE", help="A YAML file; see recipes/.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    fresh: Fresh = False,
    preset: Annotated[
        Literal["paper", "released"] | None,
        typer.Option(help="How benchmarks are sampled: as the paper says, or as its released script does."),
    ] = None,
    from_outputs: Annotated[
        Path | None,
        typer.Option("--from-outputs", metavar="FILE", help="Score these outputs again instead; no model is loaded."),
    ] = None,
    benchmark: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of --from-outputs: whose problems they answer.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of --benchmark: its rows, instead of the hub's.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="KEY=NAME", help="Of --from-outputs: response, gold, id, ... Repeatable."),
    ] = None,
    run_folder: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="Of --from-outputs: where results go.")
    ] = None,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Of --from-outputs: without a box, what a response states last.")
    ] = False,
    workers: Annotated[int, typer.Option(help="Of --from-outputs: processes that judge.", min=1)] = 1,
    timeout: Annotated[float, typer.Option(help="Of --from-outputs: seconds for one math answer.", min=0.1)] = 5.0,
) -> None:
    """Score a model: avg@k, pass@k and majority@k with their error bars, and tables for a paper.

    Where the run folder has checkpoints, the newest is scored (RL before SFT), else the recipe's model. With
    evaluate.engine openai a model on a server is scored. Run it again after an interruption: it goes on.
    """
    if from_outputs is not None:
        if recipe_file is not None:
            raise UserError("give a RECIPE or --from-outputs, not both")
        from gppo.cli.evaluation import rescore_file

        rescore_file(
            from_outputs,
            run_folder,
            benchmark=_benchmark(benchmark),
            data=data,
            columns=columns or [],
            lenient=lenient,
            workers=workers,
            timeout=timeout,
        )
        return
    if recipe_file is None:
        raise UserError("give a RECIPE, or outputs to score again with --from-outputs")
    preset_override = [f"evaluate.preset={preset}"] if preset else []
    recipe, run = start(recipe_file, [*(overrides or []), *preset_override], fresh, "evaluate")
    from rich.console import Console

    from gppo.config import require
    from gppo.evaluate import score_table
    from gppo.evaluate.served import served_model
    from gppo.evaluate.sheets import score_sheet, write_sheet
    from gppo.evaluate.stage import load_newest, read_sets, run_eval

    sets = read_sets(require(recipe, "evaluate"), run)  # before a large model is loaded for nothing
    if require(recipe, "evaluate").engine == "openai":
        found = run_eval(recipe, run, served_model(recipe), sets=sets)
    else:
        policy = load(recipe)
        found = run_eval(recipe, run, policy, load_newest(run, policy), sets)
    Console().print(score_table(found))
    write_sheet(score_sheet(found), run.evaluations, "table")
    done(run)


def _benchmark(name: str | None) -> str | None:
    """A benchmark's name, or a UserError with those there are."""
    from gppo.config.benchmarks import BENCHMARKS

    if name is not None and name not in BENCHMARKS:
        raise UserError(f"--benchmark {name}: there is none of that name; there are {', '.join(BENCHMARKS)}")
    return name


@app.command()
def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN1", help="A run folder.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="RUN2", help="Another.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="STEM", help="Write STEM.md, STEM.tex and STEM.csv as well.")
    ] = None,
) -> None:
    """Compare two runs question by question: difference, 95 % interval and p-value on every set both evaluated."""
    from gppo.cli.evaluation import compare_runs

    compare_runs((first, second), out)


@verify_app.command("math")
def verify_math(
    source: Annotated[Path, typer.Argument(metavar="IN.jsonl", help='Lines {"id", "gold", "response"}.')],
    target: Annotated[
        Path, typer.Argument(metavar="OUT.jsonl", help='Lines {"id", "verdict", "extracted", "seconds", "rule"}.')
    ],
    workers: Annotated[int, typer.Option(help="Processes that judge.", min=1)] = 1,
    timeout: Annotated[float, typer.Option(help="Seconds for one answer.", min=0.1)] = 2.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew; an existing OUT.jsonl is overwritten.")] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Without a box, take what the response states last.")
    ] = False,
) -> None:
    """Judge math answers: correct, wrong, unparsable, timeout or infra.

    Answers run in worker processes that are killed at the time limit. Run it again after an interruption: it goes on
    where OUT.jsonl ends. Lines that cannot be read go to OUT.jsonl.quarantine.jsonl with their number and the reason.
    """
    from gppo.verify import verify_math_file

    _say_counts(verify_math_file(source, target, workers=workers, timeout=timeout, fresh=fresh, lenient=lenient))


@verify_app.command("code")
def verify_code(
    source: Annotated[
        Path, typer.Argument(metavar="IN.jsonl", help='Lines {"id", "response" or "code", "tests", "limits"}.')
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT.jsonl", help='Lines {"id", "passed", "total", "reward", "cases"}.')
    ],
    workers: Annotated[int, typer.Option(help="Programs judged side by side.", min=1)] = 1,
    mode: Annotated[
        Literal["reward", "lcb"], typer.Option(help="A real process, or LiveCodeBench's semantics.")
    ] = "reward",
    fresh: Annotated[bool, typer.Option("--fresh", help="Start anew; an existing OUT.jsonl is overwritten.")] = False,
) -> None:
    """Judge programs against their tests in the sandbox: PASS, WA, TLE, MLE, RE, OLE, CE or INFRA for each test.

    Run it again after an interruption: it goes on where OUT.jsonl ends. Lines that cannot be read go to
    OUT.jsonl.quarantine.jsonl with their number and the reason.
    """
    from gppo.verify.code import verify_code_file

    _say_counts(verify_code_file(source, target, workers, mode, fresh=fresh))


def _say_counts(counts: dict[str, int]) -> None:
    kept = counts.pop("kept")
    summary = ", ".join(f"{count} {ending}" for ending, count in counts.items() if count) or "no lines"
    typer.echo(summary + (f" ({kept} of them judged before; --fresh judges anew)" if kept else ""))
