"""From an experiment to the recipes that are run: one start a regime, one unit for each regime, arm and seed."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gppo.config import Recipe
from gppo.config.edit import checked, filled, set_key
from gppo.reproduce.experiment import Arm, Changes, Experiment, Regime
from gppo.types import UserError


@dataclass(frozen=True, slots=True)
class World:
    """A world to write.

    Args:
        folder: where to.
        name: a key of WORLDS.
        seed: of everything drawn.
    """

    folder: Path
    name: str
    seed: int


@dataclass(frozen=True, slots=True)
class Unit:
    """One run: a start (no arm) or one seed of one arm.

    Args:
        folder: its run folder.
        recipe: what it runs.
        regime, arm, seed: what it is of.
    """

    folder: Path
    recipe: Recipe
    regime: str
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """For progress and errors."""
        return f"{self.regime}, {self.arm}, seed {self.seed}" if self.arm else f"{self.regime}, start"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is run, in order: worlds, then starts, then units, seed by seed so that arms stay paired."""

    worlds: list[World]
    starts: list[Unit]
    units: list[Unit]


def plan_units(experiment: Experiment, folder: Path, seeds: Sequence[int], scale: str = "miniature") -> Plan:
    """What an experiment runs; every recipe is checked before the first of them starts.

    Raises:
        UserError: the experiment has no such scale, or a recipe comes out wrong.
    """
    if scale != "miniature" and scale not in experiment.scales:
        raise UserError(f"{experiment.name}: has no scale '{scale}'; there are miniature {' '.join(experiment.scales)}")
    worlds: dict[Path, World] = {}
    starts, units = [], []
    for regime in experiment.regimes:
        if experiment.start is not None:
            place = _world(experiment, folder, regime, scale, 0, worlds)
            starts.append(_start(experiment, folder, regime, place, scale))
    for seed in seeds:
        for regime in experiment.regimes:
            place = _world(experiment, folder, regime, scale, seed, worlds)
            units += [_unit(experiment, folder, regime, arm, seed, place, scale) for arm in experiment.arms_of(regime)]
    return Plan(list(worlds.values()), starts, units)


def _world(
    experiment: Experiment, folder: Path, regime: Regime, scale: str, seed: int, known: dict[Path, World]
) -> Path:
    name = regime.world or experiment.world
    if scale in experiment.scales:
        name = experiment.scales[scale].worlds.get(name, name)
    seed = seed if experiment.world_per_seed else experiment.world_seed
    place = folder / "worlds" / f"{name}-{seed}"
    known.setdefault(place, World(place, name, seed))
    return place


def start_folder(folder: Path, regime: str) -> Path:
    """The run folder of a regime's start."""
    return folder / "starts" / regime


def _start(experiment: Experiment, folder: Path, regime: Regime, world: Path, scale: str) -> Unit:
    own = start_folder(folder, regime.name)
    changes = [experiment.scales[scale].start if scale in experiment.scales else {}, regime.start_set]
    places = {"{world}": str(world)}
    recipe = _recipe(experiment, experiment.start or {}, changes, places, own, experiment.world_seed)
    return Unit(own, recipe, regime.name, "", experiment.world_seed)


def _unit(experiment: Experiment, folder: Path, regime: Regime, arm: Arm, seed: int, world: Path, scale: str) -> Unit:
    own = folder / "units" / regime.name / arm.name / f"seed-{seed}"
    changes = [experiment.scales[scale].recipe if scale in experiment.scales else {}, regime.set, arm.set]
    # The start's checkpoint has a name of its own; a link to it has not.
    places = {"{world}": str(world), "{start}": str(start_folder(folder, regime.name) / "model")}
    return Unit(own, _recipe(experiment, experiment.recipe, changes, places, own, seed), regime.name, arm.name, seed)


def _recipe(
    experiment: Experiment,
    base: Mapping[str, Any],
    changes: Sequence[Changes],
    places: Mapping[str, str],
    folder: Path,
    seed: int,
) -> Recipe:
    data = copy.deepcopy(dict(base))
    for each in changes:
        for key, value in copy.deepcopy(each).items():
            set_key(data, key, value, experiment.name)
    data = filled(data, {**places, "{run}": str(folder)})
    data |= {"name": experiment.name, "seed": seed, "run_dir": str(folder)}
    return checked(Recipe, data, lambda key, complaint: f"experiment {experiment.name}, {folder.name}")
