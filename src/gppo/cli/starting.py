"""What commands do before and after their work: the recipe read and checked, the run folder, the report."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gppo.types import UserError

if TYPE_CHECKING:
    from gppo.config import EndpointConfig, Recipe
    from gppo.policy import Policy
    from gppo.run import RunFolder


def start(path: Path, overrides: list[str] | None, fresh: bool, section: str) -> "tuple[Recipe, RunFolder]":
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


def elsewhere(path: Path, overrides: list[str] | None, fresh: bool, section: str, engine: str, dry_run: bool) -> bool:
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
    recipe, run = start(path, overrides, fresh, section)
    run_jobs(recipe, run, section)
    done(run)
    return True


def load(recipe: "Recipe") -> "Policy":
    """The recipe's model, on its device."""
    from gppo.config import require
    from gppo.policy import load_policy
    from gppo.policy.device import choose_device

    return load_policy(require(recipe, "model"), seed=recipe.seed, device=choose_device(recipe.device, recipe.threads))


def done(run: "RunFolder") -> None:
    """The report, and where it is."""
    from gppo.report import write_report

    typer.echo(f"Report: {write_report(run.path)}")
