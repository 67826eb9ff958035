"""From pydantic's errors to one line each: which key, what is wrong, what to write instead."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def explain(error: ValidationError, root: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """(dotted key, complaint) for every error, in the order of the model. The key is "" for the whole."""
    for detail in error.errors(include_url=False):
        key = ".".join(str(part) for part in detail["loc"])
        yield key, _complaint(detail, root)


def _complaint(detail: ErrorDetails, root: type[BaseModel]) -> str:
    place, kind, message = detail["loc"], detail["type"], detail["msg"]
    if kind == "extra_forbidden":
        return _unknown_key(str(place[-1]), model_at(root, place[:-1]))
    if kind == "missing":
        model = model_at(root, place[:-1])
        field = model.model_fields.get(str(place[-1])) if model else None
        return f"missing; give it a value ({field.description})" if field and field.description else "missing"
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in ("model_type", "dict_type"):
        return f"should be a section with keys of its own, got {_shown(detail['input'])}"
    return f"{message.replace('Input should', 'should', 1)}, got {_shown(detail['input'])}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown_key(key: str, model: type[BaseModel] | None) -> str:
    valid = list(model.model_fields) if model else []
    nearest = difflib.get_close_matches(key, valid, n=1)
    if nearest:
        return f"unknown key; did you mean '{nearest[0]}'?"
    return f"unknown key; valid keys here: {', '.join(valid)}"


def model_at(root: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel] | None:
    """The model whose fields are valid at a place of the recipe, e.g. StageConfig at ("rl", "stages", 0)."""
    model: type[BaseModel] | None = root
    for part in place:
        if isinstance(part, int):
            continue  # an entry of a list: the list's field named its model already
        field = model.model_fields.get(part) if model else None
        model = _model_in(field.annotation) if field else None
    return model


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for argument in get_args(annotation) if (model := _model_in(argument))), None)
