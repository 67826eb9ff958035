"""What must not be lost: a file of JSON lines, on disk before the work goes on, found again by their keys."""

import json
import os
from collections.abc import Callable, Mapping
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gppo.types import GppoError
from gppo.types.files import full_disk_as_error, json_line, sync_folder


class Journal:
    """Lines ``{"key": ..., ...}`` in the order of writing. Memory holds a key and a place for each, not the lines.

    A last line that was cut short, as by SIGKILL or a power cut, is dropped when the journal is opened. One process at
    a time may have it open; a run folder's lock sees to that.

    Args:
        path: the file; made with its folder where it is missing.
        seen: called with every line that is there when it is opened.

    Raises:
        GppoError: a line is damaged.
    """

    def __init__(self, path: Path, seen: Callable[[dict[str, Any]], None] = lambda line: None) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        self._file = FileIO(path, "a+")
        if new:
            sync_folder(path.parent)
        self._places: dict[str, int] = {}
        self._end = 0
        try:
            self._read(seen)
        except BaseException:
            self._file.close()
            raise

    def _read(self, seen: Callable[[dict[str, Any]], None]) -> None:
        with self.path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.endswith(b"\n"):
                    break
                line = self._parsed(raw, number)
                self._places.setdefault(line["key"], self._end)
                self._end += len(raw)
                seen(line)
        self._file.truncate(self._end)

    def _parsed(self, raw: bytes, number: int) -> dict[str, Any]:
        try:
            line = json.loads(raw)
        except ValueError:
            line = None
        if not isinstance(line, dict) or not isinstance(line.get("key"), str):
            raise GppoError(f"{self.path}: line {number} is damaged; remove it and run the same command again")
        return line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def add(self, key: str, values: Mapping[str, Any], *, flush: bool = True) -> None:
        """Write a line and wait until it is on disk. Of two lines with one key ``get`` gives the first.

        Args:
            key: finds it again.
            values: plain values.
            flush: without it the line outlives this process but not a power cut, until ``flush`` is called.

        Raises:
            GppoError: the disk is full; the file is then as it was.
        """
        line = json_line({"key": key, **values})
        with full_disk_as_error(self.path):
            try:
                rest = memoryview(line)
                while rest:  # a disk that is nearly full takes a part first
                    rest = rest[self._file.write(rest) :]
                if flush:
                    os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(self._end)
                raise
        self._places.setdefault(key, self._end)
        self._end += len(line)

    def flush(self) -> None:
        """Wait until every line is on disk; may be called from another thread. A GppoError where the disk is full."""
        with full_disk_as_error(self.path):
            os.fsync(self._file.fileno())

    def get(self, key: str) -> dict[str, Any] | None:
        """The line of a key, or None."""
        place = self._places.get(key)
        if place is None:
            return None
        raw = bytearray()
        while not raw.endswith(b"\n"):
            part = os.pread(self._file.fileno(), 1 << 16, place + len(raw))
            if not part:
                raise GppoError(f"{self.path}: has become shorter while it was open; run the same command again")
            raw += part[: part.find(b"\n") + 1 or len(part)]
        line: dict[str, Any] = json.loads(raw)
        return line
