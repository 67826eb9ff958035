"""Rows and a bench for steps that are tried by themselves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gppo.curate import Bench, Change, Item, Removed, Replaced, Training
from gppo.curate.steps import step_of
from gppo.records import Conversation
from gppo.types import Problem


def problem(name: str, text: str, answer: str = "1", ability: str = "math", **extra: Any) -> Problem:
    return Problem(name, ({"role": "user", "content": text},), ability, answer, "here", extra)


def conversation(name: str, text: str, response: str, **extra: Any) -> Conversation:
    turns = ({"role": "user", "content": text}, {"role": "assistant", "content": response})
    return Conversation(name, turns, "here", extra)


def rows(records: Sequence[Training], sources: Sequence[str] | None = None) -> list[Item]:
    return [Item(i, sources[i] if sources else "here", record) for i, record in enumerate(records)]


def bench(folder: Path, kind: str = "problems", quality: dict[str, int | None] | None = None, seed: int = 0) -> Bench:
    quality = quality or {"here": None}
    paths = (folder / "work", folder / "01-step.jsonl", folder / "bad", folder)
    return Bench(kind, list(quality), quality, *paths, seed, "cpu")


def changes(config: Any, items: Sequence[Item], at: Bench) -> list[Change]:
    return list(step_of(config).changes(items, at))


def removed(found: Sequence[Change]) -> dict[str, str]:
    """The id of each removed row, and the rule."""
    return {change.item.record.id: change.rule for change in found if isinstance(change, Removed)}


def replaced(found: Sequence[Change]) -> dict[str, Training]:
    return {change.item.record.id: change.record for change in found if isinstance(change, Replaced)}
