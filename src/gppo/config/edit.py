"""What is done to a recipe before it is checked: read from YAML, changed by dotted keys, places filled in."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from gppo.config._explain import explain
from gppo.config._yaml import parse
from gppo.types import UserError

Model = TypeVar("Model", bound=BaseModel)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        UserError: the file is missing, is not YAML, gives a key twice, or holds something else.
    """
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


def checked(model: type[Model], data: Mapping[str, Any], origin: Callable[[str, str], str]) -> Model:
    """The mapping as a strict model.

    Args:
        model: what it should be.
        data: as read.
        origin: (dotted key, complaint) -> where that part comes from, for the message.

    Raises:
        UserError: something in it is wrong. Everything wrong is listed, one line each, with its dotted key.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [
            f"{origin(key, complaint)}: {key}: {complaint}" if key else f"{origin(key, complaint)}: {complaint}"
            for key, complaint in explain(error, model)
        ]
        raise UserError("\n".join(lines)) from error


def filled(value: Any, places: Mapping[str, str]) -> Any:
    """The same nested value; where a text begins with the name of a place, e.g. ``{run}``, the place stands instead."""
    if isinstance(value, dict):
        return {key: filled(item, places) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, places) for item in value]
    if isinstance(value, str):
        for name, place in places.items():
            if value.startswith(name):
                return place + value.removeprefix(name)
    return value


def set_key(data: dict[str, Any], key: str, value: Any, source: str = "--set") -> None:
    """Set a dotted key in place, e.g. ``rl.stages.0.steps``; sections on the way that are not there are made.

    Raises:
        UserError: the key leads through something that is no section, or past the end of a list.
    """
    parts = key.split(".")
    place: Any = data
    for i, part in enumerate(parts):
        slot = _slot(place, part, f"{source} {key}", ".".join(parts[:i]))
        if i == len(parts) - 1:
            place[slot] = value
        else:
            if isinstance(place, dict) and place.get(slot) is None:
                place[slot] = {}
            place = place[slot]


def _slot(place: Any, part: str, said: str, parent: str) -> str | int:
    """What indexes ``place``: the part itself in a section, its number in a list."""
    if isinstance(place, dict):
        return part
    if not isinstance(place, list):
        raise UserError(f"{said}: '{parent}' is {place!r}, not a section; it has no '{part}'")
    if not (part.isascii() and part.isdigit() and int(part) < len(place)):
        raise UserError(f"{said}: '{parent}' is a list of {len(place)}; number its entries from 0, not '{part}'")
    return int(part)
