"""What a step did, on disk: a line for each row that it removed or changed, and a summary once it is whole."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gppo.curate.step import Change, Removed, Training
from gppo.types.files import atomic_file, full_disk_as_error, json_line


@dataclass(frozen=True, slots=True)
class Ledger:
    """The ledger of a finished step.

    Args:
        path: JSONL. A removed row has ``row``, ``id``, ``source``, ``rule``, ``reason`` and ``met``, a changed one
            ``row`` and ``record``.
        key: of everything that the step's result depends on.
        title: of the step.
        size: bytes of the file.
        rules: rule -> source -> rows that were removed.
        replaced: rows that were changed.
        notes: what the step said.
    """

    path: Path
    key: str
    title: str
    size: int
    rules: dict[str, dict[str, int]]
    replaced: int
    notes: list[str]

    @property
    def removed(self) -> int:
        """Rows that were removed."""
        return sum(sum(sources.values()) for sources in self.rules.values())

    def removals(self) -> Iterator[dict[str, Any]]:
        """The lines of removed rows, in order."""
        return (line for line in _lines(self.path) if "rule" in line)

    def removed_rows(self) -> Iterator[int]:
        """The numbers of the removed rows."""
        return (line["row"] for line in self.removals()) if self.rules else iter(())

    def replacements(self) -> Iterator[tuple[int, list[Any]]]:
        """(row, its new record as plain values) of the changed rows, in order."""
        return ((line["row"], line["record"]) for line in _lines(self.path) if "record" in line)


def write_ledger(
    path: Path,
    key: str,
    title: str,
    changes: Iterable[Change],
    plain_record: Callable[[Training], Any],
    notes: Sequence[str],
) -> Ledger:
    """Write down what a step does while it does it. The ledger is there in full or not at all.

    Raises:
        ValueError: rows do not ascend.
    """
    rules: dict[str, Counter[str]] = {}
    replaced = 0
    last = -1
    with atomic_file(path) as file, full_disk_as_error(path):
        for change in changes:
            item = change.item
            if item.row <= last:
                raise ValueError(f"{title}: row {item.row} after row {last}; a step names rows in order, each once")
            last = item.row
            if isinstance(change, Removed):
                rules.setdefault(change.rule, Counter())[item.source] += 1
                line = {"row": item.row, "id": item.record.id, "source": item.source, "rule": change.rule}
                file.write(json_line(line | {"reason": change.reason, "met": change.met}))
            else:
                replaced += 1
                file.write(json_line({"row": item.row, "record": plain_record(change.record)}))
        size = file.tell()
    ledger = Ledger(path, key, title, size, {rule: dict(found) for rule, found in rules.items()}, replaced, list(notes))
    with atomic_file(_summary(path)) as file:
        file.write(json_line({**asdict(ledger), "path": path.name}))
    return ledger


def finished_ledger(path: Path, key: str) -> Ledger | None:
    """The ledger of a step that was finished before with this key, else None."""
    try:
        told = json.loads(_summary(path).read_bytes())
        if told["key"] != key or path.stat().st_size != told["size"]:
            return None
        return Ledger(**{**told, "path": path})
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or not ours: it is made again


def _summary(path: Path) -> Path:
    return path.with_suffix(".json")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)
