"""What must not be lost: JSON lines, on disk as they come, so that a killed command goes on after the last of them."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from gppo.types import GppoError
from gppo.types.files import full_disk_as_error, json_line, sync_folder


class Numbered(Protocol):
    """What has a number in its set."""

    @property
    def row(self) -> int:
        """The number."""
        ...


Row = TypeVar("Row", bound=Numbered)


def journalled(
    path: Path, rows: Iterable[Row], work: Callable[[Iterator[Row]], Iterator[Any]]
) -> Iterator[tuple[Row, Any]]:
    """Each row with its result, in order; what an earlier start wrote to ``path`` is not made again.

    Nothing of the file is held in memory. Lines outlive this process; what a power cut takes is made again.

    Args:
        path: JSONL of [row, result]; its folder is made. A line cut short by a kill is dropped.
        rows: ascending, the same as in the earlier start.
        work: gives a result for each row, in order; it may read ahead. Results are plain JSON values.

    Raises:
        GppoError: a line is damaged or of another set; or the disk is full, and the file is then as it was.
    """
    stream = iter(rows)
    waiting: deque[Row] = deque()

    def ahead() -> Iterator[Row]:
        for row in stream:
            waiting.append(row)
            yield row

    with closing(_Lines(path)) as lines:
        for _, number, (told, result) in lines.read(_is_result):
            row = next(stream, None)
            if row is None or row.row != told:
                raise GppoError(f"{path}: line {number} is of another row; remove the file and run the command again")
            yield row, result
        for result in work(ahead()):
            row = waiting.popleft()
            lines.write([row.row, result], flush=False)
            yield row, result


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
        self._lines = _Lines(path)
        self._places: dict[str, int] = {}
        try:
            for place, _, line in self._lines.read(_has_key):
                self._places.setdefault(line["key"], place)
                seen(line)
        except BaseException:
            self._lines.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()

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
        self._places.setdefault(key, self._lines.write({"key": key, **values}, flush=flush))

    def flush(self) -> None:
        """Wait until every line is on disk; may be called from another thread. A GppoError where the disk is full."""
        self._lines.flush()

    def get(self, key: str) -> dict[str, Any] | None:
        """The line of a key, or None."""
        place = self._places.get(key)
        return None if place is None else self._lines.at(place)


class _Lines:
    """A file of JSON lines that grows at its end: whole lines or none.

    Args:
        path: the file; made with its folder where it is missing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        new = not path.exists()
        self._file = FileIO(path, "a+")
        if new:
            sync_folder(path.parent)
        self._end = 0

    def close(self) -> None:
        self._file.close()

    def read(self, fits: Callable[[Any], bool]) -> Iterator[tuple[int, int, Any]]:
        """(place, number from 1, value) of every whole line; to be read to its end before anything is written."""
        with self._path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                if not raw.endswith(b"\n"):
                    break
                try:
                    value = json.loads(raw)
                except ValueError as error:
                    raise self._damaged(number) from error
                if not fits(value):
                    raise self._damaged(number)
                place, self._end = self._end, self._end + len(raw)
                yield place, number, value
        self._file.truncate(self._end)

    def _damaged(self, number: int) -> GppoError:
        return GppoError(f"{self._path}: line {number} is damaged; remove it and run the same command again")

    def write(self, value: Any, *, flush: bool) -> int:
        """Write a line and say its place. Where the disk is full the file is as it was."""
        line = json_line(value)
        with full_disk_as_error(self._path):
            try:
                rest = memoryview(line)
                while rest:  # a disk that is nearly full takes a part first
                    rest = rest[self._file.write(rest) :]
                if flush:
                    os.fsync(self._file.fileno())
            except OSError:
                self._file.truncate(self._end)
                raise
        place, self._end = self._end, self._end + len(line)
        return place

    def flush(self) -> None:
        with full_disk_as_error(self._path):
            os.fsync(self._file.fileno())

    def at(self, place: int) -> dict[str, Any]:
        """The line at a place."""
        raw = bytearray()
        while not raw.endswith(b"\n"):
            part = os.pread(self._file.fileno(), 1 << 16, place + len(raw))
            if not part:
                raise GppoError(f"{self._path}: has become shorter while it was open; run the same command again")
            raw += part[: part.find(b"\n") + 1 or len(part)]
        line: dict[str, Any] = json.loads(raw)
        return line


def _has_key(line: Any) -> bool:
    return isinstance(line, dict) and isinstance(line.get("key"), str)


def _is_result(line: Any) -> bool:
    return isinstance(line, list) and len(line) == 2
