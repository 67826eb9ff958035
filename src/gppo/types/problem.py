"""A problem: what is asked, and what a right answer is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict


class Message(TypedDict):
    """One turn of a chat, as every chat template takes it."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One prompt with its reference answer.

    Args:
        id: unique within its set.
        prompt: chat turns that the model sees.
        ability: "math" or "code"; decides the judge.
        ground_truth: the reference answer (math), or the tests as JSON (code).
        data_source: where the problem came from.
        extra: everything else the record held, e.g. ``difficulty``.
    """

    id: str
    prompt: tuple[Message, ...]
    ability: str
    ground_truth: str
    data_source: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def difficulty(self) -> str:
        """The label results are grouped by; empty where the record has none."""
        return str(self.extra.get("difficulty", ""))
