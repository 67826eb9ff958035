"""The commands that make data and models: demo, curate, distill, sft, rl, export."""

from pathlib import Path
from typing import Annotated

import typer

from gppo.cli.app import DryRun, Engine, Fresh, Overrides, RecipeFile, app
from gppo.cli.starting import done, elsewhere, load, ranks, start
from gppo.types import GppoError


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

    recipe, run = start(recipe_file, overrides, fresh, "curate")
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
    recipe, run = start(recipe_file, overrides, fresh, "distill")
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
    """Fine-tune on reasoning traces. Run it again to go on from the newest checkpoint.

    On several GPUs: torchrun --standalone --nproc-per-node 8 -m gppo sft RECIPE.
    """
    if elsewhere(recipe_file, overrides, fresh, "sft", engine, dry_run):
        return
    with ranks() as world:
        recipe, run = start(recipe_file, overrides, fresh, "sft", world)
        from gppo.policy import ALONE
        from gppo.sft.stage import run_sft

        run_sft(recipe, run, load(recipe, world), world or ALONE)
        done(run)


@app.command()
def rl(
    recipe_file: RecipeFile,
    overrides: Overrides = None,
    fresh: Fresh = False,
    engine: Engine = "local",
    dry_run: DryRun = False,
) -> None:
    """Train by reinforcement learning with GPPO, or another objective. Run it again to go on.

    A recipe with an sft section starts from what `gppo sft` made of it in the same run folder. On several GPUs:
    torchrun --standalone --nproc-per-node 8 -m gppo rl RECIPE.
    """
    if elsewhere(recipe_file, overrides, fresh, "rl", engine, dry_run):
        return
    with ranks() as world:
        recipe, run = start(recipe_file, overrides, fresh, "rl", world)
        from gppo.policy import ALONE
        from gppo.rl.stage import run_rl
        from gppo.sft.stage import load_fine_tuned

        policy, reference = load(recipe, world), None
        if recipe.sft is not None:
            load_fine_tuned(run, policy, world or ALONE)
        if world is not None and recipe.rl and recipe.rl.kl.beta > 0:  # what is sharded cannot be copied
            reference = load(recipe, world)
            if recipe.sft is not None:
                load_fine_tuned(run, reference, world)
            reference.model.eval()
        run_rl(recipe, run, policy, world or ALONE, reference)
        done(run)


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
    export_model(checkpoint, load(load_recipe(run.recipe, [])), target)
    typer.echo(f"{checkpoint} written to {target}")


@app.command()
def reproduce(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="An experiment, or a file of your own; without it, a list.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Runs of each arm; as many as the experiment says.", min=1)] = None,
    first_seed: Annotated[int, typer.Option(help="Seeds are this and the ones after it.", min=0)] = 0,
    scale: Annotated[str, typer.Option(help="miniature, or gpu: larger models on a GPU.")] = "miniature",
    jobs: Annotated[int | None, typer.Option(help="Units side by side; one for each CPU, one on a GPU.", min=1)] = None,
    folder: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="Where it is kept; runs/reproduce/NAME otherwise.")
    ] = None,
    fresh: Fresh = False,
) -> None:
    """Ask one of the paper's questions again: small models, many seeds, a figure, a verdict that may be "undecided".

    Each experiment was stated in recipes/reproduce/ before it was run. Run it again to go on, or with more seeds.
    """
    from rich.console import Console

    from gppo.reproduce.experiment import experiment_names, find_experiment, read_experiment
    from gppo.reproduce.run import available_cpus, experiments_table
    from gppo.reproduce.run import reproduce as run_experiment

    console = Console()
    if name is None:
        console.print(experiments_table([read_experiment(find_experiment(each)) for each in experiment_names()]))
        return
    file = find_experiment(name)
    experiment = read_experiment(file)
    folder = folder or Path("runs/reproduce") / (
        experiment.name if scale == "miniature" else f"{experiment.name}-{scale}"
    )
    chosen = range(first_seed, first_seed + (seeds or experiment.seeds))
    at_once = jobs or (available_cpus() if scale == "miniature" else 1)
    page = run_experiment(file, folder, chosen, scale, at_once, console, fresh=fresh)
    typer.echo(f"Page: {page}")
