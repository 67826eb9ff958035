"""From pydantic's errors to one line each: which key, what is wrong, what to write instead."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def explain(error: ValidationError, root: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """(dotted key, complaint) for every error, in the order of the model. The key is "" for the whole."""
    for detail in error.errors(include_url=False):
        key = ".".join(str(part) for part in without_choices(root, detail["loc"]))
        yield key, _complaint(detail, root)


def _complaint(detail: ErrorDetails, root: type[BaseModel]) -> str:
    place, kind, message = detail["loc"], detail["type"], detail["msg"]
    if kind == "extra_forbidden":
        return _unknown_key(str(place[-1]), model_at(root, place[:-1]))
    if kind == "missing":
        model = model_at(root, place[:-1])
        field = model.model_fields.get(str(place[-1])) if model else None
        return f"missing; give it a value ({field.description})" if field and field.description else "missing"
    if kind == "union_tag_invalid":
        return _unknown_choice(detail)
    if kind == "union_tag_not_found":
        return f"missing the key {detail['ctx']['discriminator']}, which says what it is"
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


def _unknown_choice(detail: ErrorDetails) -> str:
    """A key that chooses between models has a value that chooses none."""
    context = detail["ctx"]
    valid = [tag.strip().strip("'") for tag in context["expected_tags"].split(",")]
    nearest = difflib.get_close_matches(context["tag"], valid, n=1)
    advice = f"did you mean '{nearest[0]}'?" if nearest else f"there are {', '.join(valid)}"
    return f"{context['discriminator'].strip(chr(39))}: there is no '{context['tag']}'; {advice}"


def model_at(root: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel] | None:
    """The model whose fields are valid at a place of the recipe, e.g. StageConfig at ("rl", "stages", 0).

    Where a key chooses between models, as ``step`` does, pydantic puts what was chosen into the place.
    """
    models: list[type[BaseModel]] = [root]
    for part in place:
        if isinstance(part, int):
            continue  # an entry of a list: the list's field named its model already
        chosen = [model for model in models if _is_chosen(model, part)]
        if chosen:
            models = chosen
            continue
        field = models[0].model_fields.get(part) if models else None
        models = list(_models_in(field.annotation)) if field else []
    return models[0] if models else None


def without_choices(root: type[BaseModel], place: Sequence[int | str]) -> list[int | str]:
    """The place as the recipe's own keys name it."""
    return [
        part
        for i, part in enumerate(place)
        if isinstance(part, int) or not ((model := model_at(root, place[: i + 1])) and _is_chosen(model, part))
    ]


def _is_chosen(model: type[BaseModel], part: str) -> bool:
    return any(part in get_args(field.annotation) for field in model.model_fields.values() if field.is_required())


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
