"""The rows of a set while they are curated: written to disk once, read by each step with the changes before it.

A line is a JSON array. Steps never copy the rows: what they remove is a mark, what they change is a line of its own
in their ledger. A set with long responses is on disk twice in the end, as the spool and as the output, however many
steps there are.
"""

import json
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gppo.curate.ledger import Ledger
from gppo.curate.step import Item, Training
from gppo.records import Conversation
from gppo.run import Bar
from gppo.types import GppoError, Problem
from gppo.types.files import atomic_file, full_disk_as_error

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def plain_record(record: Training) -> list[Any]:
    """The record as a JSON array."""
    if isinstance(record, Problem):
        return [record.id, record.prompt, record.ability, record.ground_truth, record.data_source, record.extra]
    return [record.id, record.messages, record.source, record.extra]


def record_of(values: Sequence[Any]) -> Training:
    """The record of a JSON array."""
    if len(values) == 6:
        return Problem(values[0], tuple(values[1]), *values[2:])
    return Conversation(values[0], tuple(values[1]), *values[2:])


def write_spool(path: Path, rows: Iterable[tuple[str, Training]]) -> int:
    """Write (source, record) in order, the whole file or none; returns how many."""
    count = 0
    with atomic_file(path) as file, full_disk_as_error(path):
        for source, record in rows:
            file.write(_encode([source, *plain_record(record)]).encode())
            file.write(b"\n")
            count += 1
    return count


@dataclass(frozen=True, slots=True)
class Spool:
    """The rows that are left after some steps; a ``gppo.curate.step.Items``.

    Args:
        path: the file of ``write_spool``.
        removed: a byte for each row of it, 1 where a step removed it.
        count: rows that are left.
        ledgers: of the steps so far.
        bar: told of the rows as they pass.
    """

    path: Path
    removed: bytearray
    count: int
    ledgers: tuple[Ledger, ...] = ()
    bar: Bar | None = None

    def after(self, ledger: Ledger) -> "Spool":
        """The rows that are left after one more step."""
        removed = bytearray(self.removed)
        for row in ledger.removed_rows():
            removed[row] = 1
        return replace(self, removed=removed, count=self.count - ledger.removed, ledgers=(*self.ledgers, ledger))

    def shown_by(self, bar: Bar) -> "Spool":
        """The same rows, told to a progress bar."""
        return replace(self, bar=bar)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[Item]:
        return self.only(range(len(self.removed)))

    def only(self, rows: Container[int]) -> Iterator[Item]:
        """One pass over the rows with these numbers."""
        changed = _Changed([ledger for ledger in self.ledgers if ledger.replaced])
        passed = 0
        row = -1
        with self.path.open("rb") as file:
            for row, line in enumerate(file):
                if self.removed[row]:
                    continue
                passed += 1
                if row in rows:
                    source, *values = json.loads(line)
                    yield Item(row, source, record_of(changed.take(row) or values))
                if self.bar is not None and not passed % 256:
                    self.bar.advance(256)
        if self.bar is not None:
            self.bar.advance(passed % 256)
        if row + 1 != len(self.removed):
            raise GppoError(f"{self.path}: damaged; remove its folder and run the same command again")


class _Changed:
    """Records that steps replaced; ledgers are in the order of rows, so one look ahead into each is enough."""

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._streams = [ledger.replacements() for ledger in ledgers]
        self._next = [next(stream, None) for stream in self._streams]

    def take(self, row: int) -> list[Any] | None:
        """What the last step that changed the row made of it, None where none did. Rows ascend."""
        found = None
        for i, ahead in enumerate(self._next):
            while ahead is not None and ahead[0] < row:  # removed by a later step
                ahead = self._next[i] = next(self._streams[i], None)
            if ahead is not None and ahead[0] == row:
                found = ahead[1]
        return found
