"""What is done in a process of its own: write a world, make a start, run a unit and keep what it measured."""

import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from gppo.config import Recipe, dump_recipe, require
from gppo.curate import curate
from gppo.evaluate import load_evaluations, score
from gppo.evaluate.stage import run_eval
from gppo.policy import Checkpoints, load_policy
from gppo.policy.device import choose_device
from gppo.reproduce.tokens import token_shares
from gppo.reproduce.units import Unit, World
from gppo.reproduce.worlds import WORLDS
from gppo.rl.stage import run_rl
from gppo.run import RunFolder
from gppo.sft.stage import run_sft
from gppo.types import Diverged, Evaluation, UserError
from gppo.types.files import atomic_file, json_line

RESULT = "unit.json"
#: Metrics of a step that are kept of a unit.
SERIES = (
    "reward_mean",
    "entropy",
    "grad_norm",
    "clip_fraction",
    "clip_positive_high",
    "clip_positive_low",
    "clip_negative_high",
    "clip_negative_low",
    "given_back",
    "kl_old",
    "length_mean",
)


def write_world(world: World) -> None:
    """Write a world: a folder that is there is whole."""
    aside = world.folder.with_name(f".{world.folder.name}")
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    WORLDS[world.name](aside, world.seed)
    aside.rename(world.folder)


def make_start(unit: Unit) -> None:
    """Fine-tune the model that all units of a regime begin with; ``model`` in its folder is the result."""
    recipe, run = unit.recipe, RunFolder.create(unit.folder, dump_recipe(unit.recipe))
    policy = load_policy(require(recipe, "model"), seed=recipe.seed, device=_device(recipe))
    run_sft(recipe, run, policy)
    newest = Checkpoints(run.checkpoints / "sft").newest_good()
    assert newest is not None  # run_sft ends with a checkpoint
    (unit.folder / "model").symlink_to(newest.resolve(), target_is_directory=True)


def run_unit(unit: Unit) -> None:
    """Run a unit to its end, keep its result, and remove what nobody needs any more: models and rollouts.

    A unit that diverges has ended too: that is a result, and ``diverged`` says why.
    """
    began = time.monotonic()
    recipe, run = unit.recipe, RunFolder.create(unit.folder, dump_recipe(unit.recipe))
    why = None
    for config in recipe.curate or []:
        curate(config, run, seed=recipe.seed, device=recipe.device)
    policy = load_policy(require(recipe, "model"), seed=recipe.seed, device=_device(recipe))
    try:
        if recipe.sft:
            run_sft(recipe, run, policy)
        if recipe.rl:
            run_rl(recipe, run, policy)
        else:
            run_eval(recipe, run, policy)
    except Diverged as error:
        why = str(error)
    result = {
        "regime": unit.regime,
        "arm": unit.arm,
        "seed": unit.seed,
        "diverged": why,
        "seconds": time.monotonic() - began,
        "cpu_seconds": time.process_time(),
        "evaluations": [_evaluation(one) for one in load_evaluations(run.evaluations)],
        "series": _series(run),
        "tokens": token_shares(run.rollouts) if recipe.rl else [],
    }
    with atomic_file(unit.folder / RESULT) as file:
        file.write(json_line(result))
    for folder in (run.checkpoints, run.rollouts):
        shutil.rmtree(folder, ignore_errors=True)


def read_result(folder: Path) -> dict[str, Any] | None:
    """What a unit left, None where it has not ended.

    Raises:
        UserError: the file is damaged.
    """
    path = folder / RESULT
    try:
        return dict(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path}: damaged ({error}); remove its folder and run the same command again") from error


def _device(recipe: Recipe) -> str:
    return choose_device(recipe.device, recipe.threads)


def _evaluation(evaluation: Evaluation) -> dict[str, Any]:
    labels = sorted(set(evaluation.difficulty) - {""})
    chosen = {label: [d == label for d in evaluation.difficulty] for label in labels}
    return {
        "name": evaluation.name,
        "step": evaluation.step,
        "accuracy": score(evaluation).avg,
        "by_difficulty": {label: score(evaluation, np.array(select_P)).avg for label, select_P in chosen.items()},
    }


def _series(run: RunFolder) -> dict[str, list[float]]:
    lines = run.read_metrics("rl")
    return {key: [line.get(key, float("nan")) for line in lines] for key in ("step", *SERIES)}
