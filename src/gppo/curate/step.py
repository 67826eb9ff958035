"""What a step of curation is: it looks at the rows of a set, and says which go and which change.

A step never writes rows and never sees those that earlier steps removed. The pipeline keeps what it says in a ledger
(``gppo.curate.ledger``), so that every removal can be read afterwards and a killed run goes on after its last whole
step.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from gppo.records import Conversation
from gppo.types import Problem

Kind = Literal["problems", "conversations"]
Training = Problem | Conversation


@dataclass(frozen=True, slots=True)
class Item:
    """One row of the set.

    Args:
        row: its number in the set, from 0; the same in every step.
        source: name of the source it was read from.
        record: what is kept of it so far.
    """

    row: int
    source: str
    record: Training


@dataclass(frozen=True, slots=True)
class Removed:
    """A row that goes.

    Args:
        item: the row.
        rule: why such rows go, the same few words for all of them ("exact duplicate"): what tables group by.
        reason: why this one goes, a sentence for a person.
        met: what it met, for programs: plain JSON values.
    """

    item: Item
    rule: str
    reason: str
    met: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replaced:
    """A row that stays with another record, e.g. labelled, or without its faulty tests.

    Args:
        item: the row as it was.
        record: what takes its place; of the same kind.
    """

    item: Item
    record: Training


Change = Removed | Replaced


class Items(Protocol):
    """The rows that are left, in order. Each iteration is one pass over the disk; nothing is held in memory."""

    def __iter__(self) -> Iterator[Item]:
        """One pass."""
        ...

    def only(self, rows: Container[int]) -> Iterator[Item]:
        """One pass over some of them, by their numbers; the others are not even decoded."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """What a step may use besides the rows.

    Args:
        kind: of the records.
        sources: names of the sources, in the recipe's order.
        quality: rank of each source, 1 the best, None where the recipe gives none.
        folder: a folder of the step's own, not there yet, for work that should survive a kill; removed when the step is
            finished. What is in it was left by a step with the same key.
        ledger: where the step's ledger will be; what else is worth keeping goes beside it, under the same stem.
        quarantine: a folder for the rows that the step reads from elsewhere and cannot use.
        answers: a folder for what servers answered, which may have cost money: shared by every set of the run and never
            cleared away, so that nothing is asked for twice, whatever changes in the recipe.
        seed: the run's.
        device: the recipe's.
        notes: what the step wants said in the funnel beside the counts.
    """

    kind: Kind
    sources: Sequence[str]
    quality: Mapping[str, int | None]
    folder: Path
    ledger: Path
    quarantine: Path
    answers: Path
    seed: int
    device: str
    notes: list[str] = field(default_factory=list)


class Step(Protocol):
    """One step, made from its part of the recipe by ``gppo.curate.steps.step_of``."""

    @property
    def title(self) -> str:
        """How the funnel names it."""
        ...

    @property
    def passes(self) -> int:
        """How often it goes through the rows, at most; for the progress bar."""
        ...

    def changes(self, items: Items, bench: Bench) -> Iterator[Change]:
        """What happens to the rows, by ascending row, at most one change each; rows not named stay as they are.

        Deterministic: the same rows, seed and configuration give the same changes.

        Raises:
            UserError: the rows or the files the step reads do not fit it.
        """
        ...
