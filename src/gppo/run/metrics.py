"""metrics.jsonl: one JSON object a line, appended whole, read while it grows."""

import json
import os
import time
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from gppo.types import GppoError
from gppo.types.files import atomic_file, full_disk_as_error, json_line


def append_metrics(path: Path, kind: str, values: Mapping[str, Any]) -> None:
    """Append ``{"kind", "time", **values}`` with a single write. ``time`` is in seconds since 1970.

    NaN and infinities become null: the file stays valid JSON for every reader. What an interrupted write left half
    done at the end is cut off first.

    Raises:
        GppoError: the disk is full; the file is then as it was.
        TypeError: a value is no number, text, list, mapping, array or date.
    """
    line = json_line({"kind": kind, "time": round(time.time(), 3), **values})
    with full_disk_as_error(path), FileIO(path, "a+") as file:
        _cut_half_line(file)
        size = os.fstat(file.fileno()).st_size
        rest = memoryview(line)
        try:
            while rest:  # a second turn comes only where the disk filled up, and then raises
                rest = rest[file.write(rest) :]
        except OSError:
            if len(rest) < len(line):
                file.truncate(size)
            raise


def _cut_half_line(file: FileIO) -> None:
    if not os.fstat(file.fileno()).st_size:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) != b"\n":
        file.seek(0)
        file.truncate(file.readall().rfind(b"\n") + 1)


def read_metrics(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of a kind, or all, in their order; [] where there is no file. A half-written last line is left out.

    Raises:
        GppoError: a line before the last is damaged.
    """
    return [item for _, item in _lines(path) if kind is None or item.get("kind") == kind]


def truncate_metrics(path: Path, keep: Callable[[dict[str, Any]], bool]) -> int:
    """Rewrite the file with the lines for which ``keep`` is true, byte for byte, and return how many went.

    For a run that goes on from a checkpoint: the steps after it will write their lines again.

    Raises:
        GppoError: the disk is full, or a line before the last is damaged; the file is then as it was.
    """
    lines = _lines(path)
    kept = [raw for raw, item in lines if keep(item)]
    if len(kept) < len(lines):
        with atomic_file(path) as file:
            file.writelines(kept)
    return len(lines) - len(kept)


def _lines(path: Path) -> list[tuple[bytes, dict[str, Any]]]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for number, raw in enumerate(content.splitlines(keepends=True), start=1):
        if not raw.endswith(b"\n"):
            break
        try:
            item = json.loads(raw)
        except ValueError:
            item = None
        if not isinstance(item, dict):
            raise GppoError(f"{path}: line {number} is damaged; remove it and run the same command again")
        found.append((raw, item))
    return found
