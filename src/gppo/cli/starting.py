"""What commands do before and after their work: the recipe read and checked, the run folder, the report."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from gppo.types import UserError

if TYPE_CHECKING:
    from gppo.config import EndpointConfig, Recipe
    from gppo.policy import Policy, World
    from gppo.run import RunFolder


def _ranks() -> int:
    """How many processes torchrun has started to train together; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


@contextmanager
def ranks() -> "Iterator[World | None]":
    """The ranks that torchrun has started; None for a process that is alone, which need not load torch for it."""
    if _ranks() == 1:
        yield None
        return
    from gppo.policy import joined

    with joined() as world:
        yield world


def start(
    path: Path, overrides: list[str] | None, fresh: bool, section: str, world: "World | None" = None
) -> "tuple[Recipe, RunFolder]":
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
    _refuse_what_ranks_cannot(recipe, world)
    if world is not None:
        run = world.lead(lambda: RunFolder.create(recipe.folder, dump_recipe(recipe), fresh=fresh))
        if not world.leads:
            return recipe, replace(run, looks_on=True)
    else:
        run = RunFolder.create(recipe.folder, dump_recipe(recipe), fresh=fresh)
    return recipe, run.tracked(open_trackers(trackers, run.path, recipe.name, recipe.model_dump(mode="json")))


def _refuse_what_ranks_cannot(recipe: "Recipe", world: "World | None") -> None:
    if world is None and _ranks() > 1:
        raise UserError("torchrun is for gppo sft and gppo rl; run this command without it")
    if world is not None and recipe.model is not None and recipe.model.lora is not None:
        raise UserError(
            "model.lora: adapters are trained in one process; take torchrun away, or take model.lora out to train all "
            "weights on several GPUs"
        )


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
    if _ranks() > 1:
        raise UserError("--engine verl starts its workers itself: run it without torchrun")
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


def load(recipe: "Recipe", world: "World | None" = None) -> "Policy":
    """The recipe's model, on its device, or shared out to the ranks."""
    from gppo.config import require
    from gppo.policy import load_policy, shard
    from gppo.policy.device import choose_device

    rank = None if world is None else world.rank
    device = choose_device(recipe.device, recipe.threads, rank)
    if world is None:
        return load_policy(require(recipe, "model"), seed=recipe.seed, device=device)
    import torch

    to_ranks = partial(shard, config=recipe.parallel, world=world, device=torch.device(device))
    return load_policy(require(recipe, "model"), seed=recipe.seed, device=device, shard=to_ranks)


def done(run: "RunFolder") -> None:
    """The report, and where it is."""
    if run.looks_on:
        return
    from gppo.report import write_report

    typer.echo(f"Report: {write_report(run.path)}")
