"""An experiment as it is stated before it is run: question, regimes, arms, metric, and what its numbers would mean."""

import difflib
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from gppo.config.base import Strict
from gppo.config.edit import checked, read_mapping
from gppo.reproduce.worlds import WORLDS
from gppo.types import UserError

#: Dotted keys of a recipe and their values.
Changes = dict[str, Any]


class Metric(Strict):
    """What is compared: the mean over some evaluations of a unit."""

    set: str = Field(description="The name of a set of recipe.evaluate.")
    sampling: str = Field(description="How it was sampled, as tables name it: T=1, greedy, 'T=0.6 top-p 0.95'.")
    steps: list[int] = Field(description="RL steps after which it was evaluated; [0] without RL.", min_length=1)
    difficulty: str | None = Field(default=None, description="Only problems with this label.")
    what: str = Field(description="The metric in words.")


class Regime(Strict):
    """Conditions under which all arms are compared."""

    name: str = Field(description="Names the regime.", min_length=1)
    about: str = Field(description="What it is, and why it is there.")
    world: str | None = Field(default=None, description="Another world than the experiment's.")
    set: Changes = Field(default_factory=dict, description="What it changes in every unit's recipe.")
    start_set: Changes = Field(default_factory=dict, description="What it changes in the recipe of the start.")


class Arm(Strict):
    """One of the things that are compared."""

    name: str = Field(description="Names the arm.", min_length=1)
    about: str = Field(description="What it is.")
    set: Changes = Field(default_factory=dict, description="What it changes in a unit's recipe.")
    regimes: list[str] | None = Field(default=None, description="Only in these regimes.")


class Comparison(Strict):
    """One arm against another, paired by seed."""

    of: str = Field(description="An arm.")
    against: str = Field(description="The arm it is compared with.")
    regimes: list[str] | None = Field(default=None, description="Only in these regimes.")
    sampling: str | None = Field(default=None, description="metric.sampling, for this comparison.")
    difficulty: str | None = Field(default=None, description="metric.difficulty, for this comparison.")
    steps: list[int] | None = Field(default=None, description="metric.steps, for this comparison.")


class Sweep(Strict):
    """Arms that are values of one setting, for a figure of their own."""

    name: str = Field(description="The setting.")
    arms: list[str] = Field(description="The arms, by rising value.", min_length=2)
    values: list[float] = Field(description="The value of each.", min_length=2)


class Scale(Strict):
    """What another scale than the miniature changes, before regime and arm."""

    worlds: dict[str, str] = Field(default_factory=dict, description="Which world stands in place of which.")
    recipe: Changes = Field(default_factory=dict, description="In a unit's recipe.")
    start: Changes = Field(default_factory=dict, description="In the recipe of the start.")


class Experiment(Strict):
    """One question, asked of small models many times over."""

    name: str = Field(description="Names the experiment; the file is called after it.", min_length=1)
    title: str = Field(description="For pages and tables.")
    paper: str = Field(description="What the paper found, and where it says so.")
    question: str = Field(description="What is asked.")
    hypothesis: str = Field(description="What would count as yes and as no.")
    world: str = Field(description="A key of gppo.reproduce.worlds.WORLDS.")
    world_seed: int = Field(default=0, description="Of the world, and of the start.", ge=0)
    world_per_seed: bool = Field(default=False, description="Whether each seed has a world of its own.")
    seeds: int = Field(default=8, description="Runs of each arm; seeds are 0, 1, 2, ...", ge=2)
    metric: Metric = Field(description="What is compared.")
    start: dict[str, Any] | None = Field(
        default=None, description="A recipe of model and sft, run once; {start} is the model it makes."
    )
    recipe: dict[str, Any] = Field(description="What each unit runs: curate, sft, rl, evaluate, whichever are there.")
    regimes: list[Regime] = Field(description="At least one.", min_length=1)
    arms: list[Arm] = Field(description="At least two.", min_length=2)
    comparisons: list[Comparison] = Field(description="The first gives the verdict.", min_length=1)
    sweep: Sweep | None = Field(default=None, description="Arms along one setting.")
    scales: dict[str, Scale] = Field(default_factory=dict, description="Other scales, e.g. gpu.")
    calibration: str = Field(description="How the regimes were chosen, and what was not looked at.")
    transfers: str = Field(description="What of this holds for large models, and what cannot be known here.")

    @model_validator(mode="after")
    def _names_exist(self) -> "Experiment":
        regimes, arms = _distinct("regimes", self.regimes), _distinct("arms", self.arms)
        for arm in self.arms:
            _known("regime", arm.regimes or (), regimes)
        for one in self.comparisons:
            _known("arm", (one.of, one.against), arms)
            _known("regime", one.regimes or (), regimes)
        if self.sweep:
            _known("arm", self.sweep.arms, arms)
            if len(self.sweep.arms) != len(self.sweep.values):
                raise ValueError("sweep: give each of its arms one value")
        swapped = [name for scale in self.scales.values() for pair in scale.worlds.items() for name in pair]
        _known("world", (self.world, *(r.world for r in self.regimes if r.world), *swapped), set(WORLDS))
        if self.world_per_seed and self.start is not None:
            raise ValueError("world_per_seed and start exclude each other: the start is made in one world")
        return self

    def arms_of(self, regime: Regime) -> list[Arm]:
        """The arms that run in a regime."""
        return [arm for arm in self.arms if arm.regimes is None or regime.name in arm.regimes]

    def comparisons_in(self, regime: Regime) -> list[Comparison]:
        """The comparisons that are made in a regime: those asked for there whose arms both run there."""
        there = {arm.name for arm in self.arms_of(regime)}
        return [
            one
            for one in self.comparisons
            if (one.regimes is None or regime.name in one.regimes) and {one.of, one.against} <= there
        ]

    def metric_of(self, comparison: Comparison) -> Metric:
        """The metric with what the comparison changes in it."""
        changes = comparison.model_dump(include={"sampling", "difficulty", "steps"}, exclude_none=True)
        return self.metric.model_copy(update=changes)


def _distinct(what: str, parts: list[Any]) -> set[str]:
    names = [part.name for part in parts]
    if len(set(names)) != len(names):
        raise ValueError(f"the names of {what} must differ, got {', '.join(names)}")
    return set(names)


def _known(what: str, names: Any, known: set[str]) -> None:
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(sorted(known))}"
            raise ValueError(f"there is no {what} '{name}'; {hint}")


def experiments_folder() -> Path:
    """Where the experiments' files are: in the installed package, or in recipes/ of a checkout."""
    packaged = Path(__file__).parent / "experiments"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "recipes" / "reproduce"


def experiment_names() -> list[str]:
    """The experiments that ship."""
    return sorted(path.stem for path in experiments_folder().glob("*.yaml"))


def find_experiment(name: str) -> Path:
    """The file of an experiment, by its name or by a path of one's own.

    Raises:
        UserError: there is none.
    """
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    names = experiment_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(names)}"
        raise UserError(f"there is no experiment '{name}'; {hint}")
    return experiments_folder() / f"{name}.yaml"


def read_experiment(path: Path) -> Experiment:
    """The experiment of a file.

    Raises:
        UserError: the file is missing or something in it is wrong; everything wrong is listed.
    """
    return checked(Experiment, read_mapping(path), lambda key, complaint: str(path))
