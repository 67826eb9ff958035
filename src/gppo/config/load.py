"""A recipe from its file and the command line, and back to text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, overload

import yaml
from pydantic import ValidationError

from gppo.config._explain import explain
from gppo.config._yaml import dump, parse
from gppo.config.data import CurateConfig
from gppo.config.distill import DistillConfig
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
    data = _read(Path(path))
    changed = [_override(data, text) for text in overrides]
    folder = str(data.get("run_dir") or Path("runs") / str(data.get("name")))
    try:
        return Recipe.model_validate(_with_folder(data, folder))
    except ValidationError as error:
        lines = []
        for key, complaint in explain(error, Recipe):
            origin = "--set" if any(_blames(place, key, complaint) for place in changed) else str(path)
            lines.append(f"{origin}: {key}: {complaint}" if key else f"{origin}: {complaint}")
        raise UserError("\n".join(lines)) from error


def _blames(place: str, key: str, complaint: str) -> bool:
    """Whether an error at ``key`` comes from an override of ``place``: at it, below it, or a section it misspelt."""
    return f"{key}.".startswith(f"{place}.") or (complaint.startswith("unknown key") and place.startswith(f"{key}."))


def _with_folder(value: Any, folder: str) -> Any:
    """The same nested value with ``{run}`` at the start of texts replaced by the run folder."""
    if isinstance(value, dict):
        return {key: _with_folder(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_folder(item, folder) for item in value]
    if isinstance(value, str) and value.startswith("{run}"):
        return folder + value.removeprefix("{run}")
    return value


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise UserError(f"{path}: the recipe cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}); save the recipe as UTF-8") from error
    try:
        data, complaints = parse(text)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UserError(f"{path}{line}: not YAML ({error.problem})") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    except RecursionError as error:
        raise UserError(f"{path}: an alias contains itself, or lists are nested without end; write it out") from error
    if complaints:
        raise UserError("\n".join(f"{path}: {complaint}" for complaint in complaints))
    if not isinstance(data, dict):
        found = "empty" if data is None else f"a {type(data).__name__}"
        raise UserError(f"{path}: a recipe is a mapping of keys such as 'name' and 'model', this file is {found}")
    return data


def _override(data: dict[str, Any], text: str) -> str:
    """Apply one KEY=VALUE in place and return its key."""
    key, equals, value_text = text.partition("=")
    key = key.strip()
    parts = key.split(".")
    if not equals or not all(parts):
        raise UserError(f"--set {text}: write KEY=VALUE with a dotted key, e.g. rl.learning_rate=1e-6")
    try:
        value, complaints = parse(value_text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UserError(f"--set {text}: the value is not YAML; quote it, e.g. {key}='\"text\"'") from error
    if complaints:
        raise UserError("\n".join(f"--set {key}: {complaint}" for complaint in complaints))
    place: Any = data
    for i, part in enumerate(parts):
        slot = _slot(place, part, key, ".".join(parts[:i]))
        if i == len(parts) - 1:
            place[slot] = value
        else:
            if isinstance(place, dict) and place.get(slot) is None:
                place[slot] = {}
            place = place[slot]
    return key


def _slot(place: Any, part: str, key: str, parent: str) -> str | int:
    """What indexes ``place``: the part itself in a section, its number in a list."""
    if isinstance(place, dict):
        return part
    if not isinstance(place, list):
        raise UserError(f"--set {key}: '{parent}' is {place!r}, not a section; it has no '{part}'")
    if not (part.isascii() and part.isdigit() and int(part) < len(place)):
        raise UserError(f"--set {key}: '{parent}' is a list of {len(place)}; number its entries from 0, not '{part}'")
    return int(part)


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
