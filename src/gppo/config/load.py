"""A recipe from its file and the command line, and back to text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import yaml

from gppo.config._yaml import dump, parse
from gppo.config.data import CurateConfig
from gppo.config.distill import DistillConfig
from gppo.config.edit import checked, filled, read_mapping, set_key
from gppo.config.evaluation import EvaluateConfig
from gppo.config.model import ModelConfig
from gppo.config.recipe import Recipe
from gppo.config.rl import RLConfig
from gppo.config.sft import SFTConfig
from gppo.config.vllm import VLLMConfig
from gppo.types import UserError


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and check a recipe.

    Paths inside it stay as they are written: relative ones start at the working directory, not at the recipe. ``{run}``
    at the start of a text stands for the run folder, so that one step can read what another wrote.

    Args:
        path: a YAML file. ``1e-6`` is a number; a key given twice is an error.
        overrides: ``KEY=VALUE`` each, e.g. ``rl.learning_rate=1e-6`` or ``rl.stages.0.steps=3``. The value is read as
            YAML; sections on the way that are not there are made; later ones win.

    Raises:
        UserError: the file is missing or not YAML, or something in it is wrong. Everything wrong is listed, one line
            each, with its dotted key.
    """
    data = read_mapping(Path(path))
    changed = [_override(data, text) for text in overrides]
    folder = str(data.get("run_dir") or Path("runs") / str(data.get("name")))

    def origin(key: str, complaint: str) -> str:
        return "--set" if any(_blames(place, key, complaint) for place in changed) else str(path)

    return checked(Recipe, filled(data, {"{run}": folder}), origin)


def _blames(place: str, key: str, complaint: str) -> bool:
    """Whether an error at ``key`` comes from an override of ``place``: at it, below it, or a section it misspelt."""
    return f"{key}.".startswith(f"{place}.") or (complaint.startswith("unknown key") and place.startswith(f"{key}."))


def _override(data: dict[str, Any], text: str) -> str:
    """Apply one KEY=VALUE in place and return its key."""
    key, equals, value_text = text.partition("=")
    key = key.strip()
    if not equals or not all(key.split(".")):
        raise UserError(f"--set {text}: write KEY=VALUE with a dotted key, e.g. rl.learning_rate=1e-6")
    try:
        value, complaints = parse(value_text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"--set {text}: the value is not YAML; quote it, e.g. {key}='\"text\"'") from error
    if complaints:
        raise UserError("\n".join(f"--set {key}: {complaint}" for complaint in complaints))
    set_key(data, key, value)
    return key


def dump_recipe(recipe: Recipe) -> str:
    """The recipe with every default filled in, as YAML that loads back to an equal recipe."""
    return dump(recipe.model_dump(mode="json", exclude_none=True))


@overload
def require(recipe: Recipe, section: Literal["model"]) -> ModelConfig: ...
@overload
def require(recipe: Recipe, section: Literal["curate"]) -> list[CurateConfig]: ...
@overload
def require(recipe: Recipe, section: Literal["distill"]) -> DistillConfig: ...
@overload
def require(recipe: Recipe, section: Literal["sft"]) -> SFTConfig: ...
@overload
def require(recipe: Recipe, section: Literal["rl"]) -> RLConfig: ...
@overload
def require(recipe: Recipe, section: Literal["evaluate"]) -> EvaluateConfig: ...
@overload
def require(recipe: Recipe, section: Literal["vllm"]) -> VLLMConfig: ...
def require(recipe: Recipe, section: str) -> Any:
    """A section that a command cannot do without.

    Raises:
        UserError: the recipe does not have it.
    """
    found = getattr(recipe, section)
    if found is None:
        raise UserError(f"recipe '{recipe.name}' has no section '{section}', which this command needs; add one")
    return found
