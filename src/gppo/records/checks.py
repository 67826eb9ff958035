"""From a row to a Problem or a Conversation, or to the reason why not."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gppo.records.quarantine import BadRowError
from gppo.types import Message, Problem

ROLES = ("system", "user", "assistant", "tool")
ABILITIES = ("math", "code")


@dataclass(frozen=True, slots=True)
class Conversation:
    """A chat to learn from.

    Args:
        id: unique within its set.
        messages: turns, at least one of them the assistant's.
        source: where it came from.
        extra: everything else the record held, e.g. ``difficulty``.
    """

    id: str
    messages: tuple[Message, ...]
    source: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


def problem_from_row(row: dict[str, Any], fallback_id: str) -> Problem:
    """A row of an RL set: ``prompt``, ``ability``, ``reward_model.ground_truth``, ``data_source``, ``extra_info``.

    A prompt given as text becomes one user turn. A ground truth that is not text is written as JSON. Keys of
    ``extra_info`` other than ``id``, and unknown keys of the row, end up in ``extra``; so does a ``reward_model.style``
    other than "rule", as ``reward_style``.

    Args:
        row: plain values, as ``iter_rows`` gives them.
        fallback_id: used where neither ``extra_info`` nor the row has an ``id`` or ``index``.

    Raises:
        BadRowError: the row cannot be used; the text says why.
    """
    _refuse_broken_text(row)
    prompt = _present(row, "prompt", "add a list of turns with role and content")
    messages = _turns([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt, "prompt")
    if not any(turn["content"].strip() for turn in messages):
        raise BadRowError("the prompt is empty; write what is asked")
    ability = str(_present(row, "ability", "set it to math or code")).strip().lower()
    if ability not in ABILITIES:
        raise BadRowError(f"ability is {ability!r}, which has no judge; set it to math or code")
    reward = _present(row, "reward_model", "add {ground_truth: ...}")
    if not isinstance(reward, dict):
        raise BadRowError(f"reward_model is a {type(reward).__name__}, not an object; write {{ground_truth: ...}}")
    extra = _extra(row, known=("prompt", "ability", "reward_model", "data_source", "extra_info", "id"))
    style = reward.get("style")
    if style not in (None, "", "rule"):
        extra["reward_style"] = style
    return Problem(
        id=_id(row, fallback_id),
        prompt=messages,
        ability=ability,
        ground_truth=_ground_truth(reward),
        data_source=str(row.get("data_source") or ""),
        extra=extra,
    )


def conversation_from_row(row: dict[str, Any], fallback_id: str) -> Conversation:
    """A row of an SFT set: ``messages``, and ``data_source`` (or ``source``) and ``extra_info`` where there are any.

    Args:
        row: plain values, as ``iter_rows`` gives them.
        fallback_id: used where neither ``extra_info`` nor the row has an ``id`` or ``index``.

    Raises:
        BadRowError: the row cannot be used; the text says why.
    """
    _refuse_broken_text(row)
    messages = _turns(_present(row, "messages", "add a list of turns with role and content"), "messages")
    answers = [turn["content"] for turn in messages if turn["role"] == "assistant"]
    if not any(answer.strip() for answer in answers):
        what = "has only empty assistant turns" if answers else "has no assistant turn"
        raise BadRowError(f"messages {what}; there is nothing to learn from it")
    source = "data_source" if row.get("data_source") else "source"
    extra = _extra(row, known=("messages", "extra_info", "id", "data_source", source))
    return Conversation(id=_id(row, fallback_id), messages=messages, source=str(row.get(source) or ""), extra=extra)


def _present(row: dict[str, Any], key: str, advice: str) -> Any:
    value = row.get(key)
    if value is None:
        has = "is null" if key in row else f"is missing (the row has {', '.join(row) or 'no keys'})"
        raise BadRowError(f"'{key}' {has}; {advice}")
    return value


def _turns(turns: Any, where: str) -> tuple[Message, ...]:
    if not isinstance(turns, list):
        raise BadRowError(f"'{where}' is a {type(turns).__name__}; write a list of turns with role and content")
    if not turns:
        raise BadRowError(f"'{where}' is an empty list; add at least one turn")
    return tuple(_turn(turn, f"turn {i} of '{where}'") for i, turn in enumerate(turns, start=1))


def _turn(turn: Any, where: str) -> Message:
    if not isinstance(turn, dict):
        raise BadRowError(f"{where} is a {type(turn).__name__}; write {{role: ..., content: ...}}")
    for key in ("role", "content"):
        if turn.get(key) is None:
            raise BadRowError(f"{where} has no {key}; write {{role: ..., content: ...}}")
        if not isinstance(turn[key], str):
            raise BadRowError(f"the {key} of {where} is a {type(turn[key]).__name__}; write it as text")
    if turn["role"] not in ROLES:
        raise BadRowError(f"the role of {where} is {turn['role']!r}; use one of {', '.join(ROLES)}")
    for key, value in turn.items():
        # A turn's reasoning_content or weight would change what is learned if it were quietly left out.
        if key not in ("role", "content") and value is not None:
            raise BadRowError(f"{where} has '{key}' besides role and content; move it into content or remove it")
    return {"role": turn["role"], "content": turn["content"]}


def _ground_truth(reward: dict[str, Any]) -> str:
    if "ground_truth" not in reward:
        raise BadRowError("reward_model has no ground_truth; add the reference answer")
    value = reward["ground_truth"]
    if value is None:
        raise BadRowError("reward_model.ground_truth is null; write the reference answer or remove the row")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if not text.strip():
        raise BadRowError("reward_model.ground_truth is empty; write the reference answer or remove the row")
    return text


def _id(row: dict[str, Any], fallback: str) -> str:
    extra = row.get("extra_info") or {}
    for value in (extra.get("id"), extra.get("index"), row.get("id")):
        if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
            return str(value)
    return fallback


def _extra(row: dict[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    """What no field of the record takes: extra_info without its id, and the row's unknown keys beside it."""
    extra = row.get("extra_info")
    if extra is not None and not isinstance(extra, dict):
        raise BadRowError(f"extra_info is a {type(extra).__name__}, not an object; write {{id: ...}}")
    outside = {key: value for key, value in row.items() if key not in known and value is not None}
    return outside | {key: value for key, value in (extra or {}).items() if key != "id"}


def _refuse_broken_text(value: Any) -> None:
    """NUL and halves of surrogate pairs break tokenizers and files that are written later."""
    if isinstance(value, str):
        if "\0" in value:
            raise BadRowError("a text holds the NUL character; remove it")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise BadRowError("a text holds half of a surrogate pair, which is no character; remove it") from error
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_broken_text(key)
            _refuse_broken_text(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_broken_text(item)
