"""``gppo``: every command, and what a person sees when something goes wrong.

Commands import what they need when they run, so that ``gppo --help`` and ``gppo verify`` never load torch.
"""

import errno
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gppo import __version__
from gppo.types import GppoError, UserError

if TYPE_CHECKING:
    from gppo.config import EndpointConfig, Recipe
    from gppo.policy import Policy
    from gppo.run import RunFolder

#: What typer raises for a command line that it cannot read; the class has no public name of its own.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]
#: A disk that is full, broken or not ours to write to: a sentence says it better than a traceback.
_NOT_OUR_FAULT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)

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


def _start(path: Path, overrides: list[str] | None, fresh: bool, section: str) -> "tuple[Recipe, RunFolder]":
    """The recipe and its run folder. What can be found wrong now is said before the folder is there."""
    from gppo.config import dump_recipe, load_recipe, require
    from gppo.records import iter_rows
    from gppo.run import RunFolder, check_trackers, open_trackers

    recipe = load_recipe(path, overrides or [])
    require(recipe, section)  # type: ignore[call-overload]
    if section == "rl" and recipe.rl:
        from gppo.rl import check_objective

        check_objective(recipe.rl)
    for data in _data(recipe, section):
        iter_rows(data)  # opens nothing yet, and refuses what is not there
    if endpoints := _endpoints(recipe, section):
        from gppo.rollout.openai import api_key

        for endpoint in endpoints:
            api_key(endpoint)
    trackers = recipe.trackers if section in ("sft", "rl") else []
    check_trackers(trackers)
    run = RunFolder.create(recipe.folder, dump_recipe(recipe), fresh=fresh)
    return recipe, run.tracked(open_trackers(trackers, run.path, recipe.name, recipe.model_dump(mode="json")))


def _data(recipe: "Recipe", section: str) -> list[Path]:
    """The files that a command will read."""
    from gppo.config import files_of

    files: list[Path] = []
    for config in recipe.curate or [] if section == "curate" else []:
        files += [source.data for source in config.sources if source.data is not None]
        files += [path for step in config.steps for path in files_of(step)]
    if section == "sft" and recipe.sft:
        files.append(recipe.sft.data)
    if section == "rl" and recipe.rl:
        files += [stage.data for stage in recipe.rl.stages]
    if section == "distill" and recipe.distill:
        files.append(recipe.distill.problems)
    if section in ("rl", "evaluate") and recipe.evaluate:
        files += [item.data for item in recipe.evaluate.sets if item.data and not item.benchmark]
    return files


def _endpoints(recipe: "Recipe", section: str) -> "list[EndpointConfig]":
    """The servers that a command will ask."""
    from gppo.config import endpoint_of

    if section == "distill" and recipe.distill:
        return [recipe.distill.endpoint]
    if section == "evaluate" and recipe.evaluate and recipe.evaluate.endpoint:
        return [recipe.evaluate.endpoint]
    steps = [step for config in recipe.curate or [] if section == "curate" for step in config.steps]
    return [endpoint for step in steps if (endpoint := endpoint_of(step))]


def _elsewhere(path: Path, overrides: list[str] | None, fresh: bool, section: str, engine: str, dry_run: bool) -> bool:
    """Whether another engine was asked for; its run is then done, or shown."""
    if engine == "local":
        if dry_run:
            raise UserError("--dry-run shows what another engine would be told; add --engine verl")
        return False
    from gppo.bridges.verl.engine import jobs_of, run_jobs, show
    from gppo.config import load_recipe

    if dry_run:
        show(jobs_of(load_recipe(path, overrides or []), section), typer.echo)
        return True
    jobs_of(load_recipe(path, overrides or []), section)  # what it cannot do is said before the folder is there
    recipe, run = _start(path, overrides, fresh, section)
    run_jobs(recipe, run, section)
    _done(run)
    return True


def _policy(recipe: "Recipe") -> "Policy":
    from gppo.config import require
    from gppo.policy import load_policy
    from gppo.policy.device import choose_device

    return load_policy(require(recipe, "model"), seed=recipe.seed, device=choose_device(recipe.device, recipe.threads))


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--run", metavar="FOLDER", help="The run folder.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Of the world, the weights and every sampled token.", min=0)] = 0,
    seeds: Annotated[
        int, typer.Option(help="Run seeds 0 .. n-1 in folders of their own and print means with errors.", min=1)
    ] = 1,
    fresh: Fresh = False,
    overrides: Overrides = None,
) -> None:
    """The whole pipeline in miniature, offline, in minutes on two cores.

    A tiny model learns written-out addition from a tutor who gets "+7" wrong and small programs from a coach who
    misreads conditions, then unlearns both by GPPO: from right and wrong answers, then from tests passed in the
    sandbox. Prints accuracy before and after, and where the report is. Run it again to go on where it stopped.
    """
    from rich.console import Console

    from gppo.miniature.demo import run_demo
    from gppo.miniature.seeds import run_seeds

    console = Console()
    if seeds > 1:
        run_seeds(folder, range(seeds), console, fresh=fresh, overrides=overrides or [])
    else:
        run_demo(folder, seed, console, fresh=fresh, overrides=overrides or [])


@app.command()
def curate(recipe_file: RecipeFile, overrides: Overrides = None, fresh: Fresh = False) -> None:
    """Make training sets by the recipe's steps, every loss counted. Run it again to go on after its last whole step."""
    from rich.console import Console

    from gppo.config import require
    from gppo.curate import curate as curate_one
    from gppo.curate import funnel_table, write_page

    recipe, run = _start(recipe_file, overrides, fresh, "curate")
    results = []
    for config in require(recipe, "curate"):
        results.append(curate_one(config, run, seed=recipe.seed, device=recipe.device))
        Console().print(funnel_table(results[-1].title, results[-1].funnel))
    typer.echo(f"Page: {write_page(run.path, results)}")


@app.command()
def distill(recipe_file: RecipeFile, overrides: Overrides = None, fresh: Fresh = False) -> None:
    """Collect a teacher's responses from any OpenAI-compatible endpoint, with verdicts. Run it again to go on.

    Every response is kept as soon as it comes. Ctrl-C waits for those under way, a second one does not. Spending ends
    before distill.endpoint.budget is passed.
    """
    recipe, run = _start(recipe_file, overrides, fresh, "distill")
    from rich.console import Console

    from gppo.config import require
    from gppo.curate.distill import distill as distill_all
    from gppo.curate.distill import distill_table
    from gppo.policy import load_tokenizer

    config = require(recipe, "distill")
    as_tokens = config.endpoint.api == "completions"
    tokenizer = load_tokenizer(require(recipe, "model")) if as_tokens else None
    found = distill_all(config, run, seed=recipe.seed, tokenizer=tokenizer)
    Console().print(distill_table(found))
    if complaint := found.complaint():
        raise GppoError(complaint)


@app.command()
def sft(
    recipe_file: RecipeFile,
    overrides: Overrides = None,
    fresh: Fresh = False,
    engine: Engine = "local",
    dry_run: DryRun = False,
) -> None:
    """Fine-tune on reasoning traces. Run it again to go on from the newest checkpoint."""
    if _elsewhere(recipe_file, overrides, fresh, "sft", engine, dry_run):
        return
    recipe, run = _start(recipe_file, overrides, fresh, "sft")
    from gppo.sft.stage import run_sft

    run_sft(recipe, run, _policy(recipe))
    _done(run)


@app.command()
def rl(
    recipe_file: RecipeFile,
    overrides: Overrides = None,
    fresh: Fresh = False,
    engine: Engine = "local",
    dry_run: DryRun = False,
) -> None:
    """Train by reinforcement learning with GPPO, or another objective. Run it again to go on.

    A recipe with an sft section starts from what `gppo sft` made of it in the same run folder.
    """
    if _elsewhere(recipe_file, overrides, fresh, "rl", engine, dry_run):
        return
    recipe, run = _start(recipe_file, overrides, fresh, "rl")
    from gppo.rl.stage import run_rl
    from gppo.sft.stage import load_fine_tuned

    policy = _policy(recipe)
    if recipe.sft is not None:
        load_fine_tuned(run, policy)
    run_rl(recipe, run, policy)
    _done(run)


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
    recipe, run = _start(recipe_file, [*(overrides or []), *preset_override], fresh, "evaluate")
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
        policy = _policy(recipe)
        found = run_eval(recipe, run, policy, load_newest(run, policy), sets)
    Console().print(score_table(found))
    write_sheet(score_sheet(found), run.evaluations, "table")
    _done(run)


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


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.", show_default=False)],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to make.", show_default=False)],
) -> None:
    """Write a run's newest model (RL before SFT) as one Hugging Face folder, LoRA adapters merged into the weights."""
    from gppo.config import load_recipe
    from gppo.policy import export_model, newest_checkpoint
    from gppo.run import RunFolder

    run = RunFolder.open(folder)
    checkpoint = newest_checkpoint(run.checkpoints)
    export_model(checkpoint, _policy(load_recipe(run.recipe, [])), target)
    typer.echo(f"{checkpoint} written to {target}")


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


def _done(run: "RunFolder") -> None:
    from gppo.report import write_report

    typer.echo(f"Report: {write_report(run.path)}")


def main() -> None:
    """Run the command; exit with 0, 1, 2 or 130."""
    logging.basicConfig(level=logging.WARNING, format="note: %(message)s")
    stopped = 128 + signal.SIGINT
    try:
        status = app(standalone_mode=False, prog_name="gppo")
    except GppoError as error:
        _fail(str(error), error.exit_status)
    except _UsageError as error:
        _fail(_usage(error), UserError.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped", stopped)
    except OSError as error:
        if error.errno not in _NOT_OUR_FAULT:
            raise
        reason = (error.strerror or str(error)).lower()
        _fail(f"{error.filename or 'disk'}: {reason}; mend that and run the same command again", GppoError.exit_status)
    else:
        if status == stopped:  # typer turns Ctrl-C into this status without a word
            _fail("stopped", stopped)
        sys.exit(status if isinstance(status, int) else 0)


def _usage(error: typer.BadParameter) -> str:
    """What is wrong with the command line, in one sentence; "" where the help was printed instead."""
    message = error.format_message().rstrip(". ")
    command = error.ctx.command_path if error.ctx else "gppo"
    return message and f"{message}; see `{command} --help`"


def _fail(message: str, status: int) -> None:
    label = "error" if status in (UserError.exit_status, GppoError.exit_status) else "gppo"
    if message:
        typer.echo(f"{label}: {message}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
