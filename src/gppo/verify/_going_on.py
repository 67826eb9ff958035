"""A file of results that grows line by line, and goes on where an earlier call was cut short."""

import json
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from gppo.types import UserError
from gppo.types.files import full_disk_as_error

_END = object()


def kept_records(
    old: BinaryIO, path: Path, keys: tuple[str, ...], ids: Iterator[str | int]
) -> Iterator[tuple[dict[str, Any], int]]:
    """The whole lines of an earlier call, with their lengths in bytes.

    Args:
        old: the file, at its beginning.
        path: its name.
        keys: of every record, in order.
        ids: of the input's records, in order; goes past those that the lines belong to.

    Raises:
        UserError: a line belongs to another input.
    """
    for number, line in enumerate(old, 1):
        if not line.endswith(b"\n"):
            return  # cut short when that call was killed
        try:
            record = json.loads(line)
        except ValueError:
            record = None
        if not isinstance(record, dict) or tuple(record) != keys or record["id"] != next(ids, _END):
            raise UserError(
                f"{path} line {number} is no result for the input's record {number}, so it cannot be continued; "
                "choose another output file or start anew with --fresh."
            )
        yield record, len(line)


def write_line(out: FileIO, path: Path, line: bytes) -> None:
    """A whole line, or none and a GppoError where the disk is full."""
    with full_disk_as_error(path):
        end = out.tell()
        try:
            written = 0
            while written < len(line):  # a disk that is nearly full takes a part first
                written += out.write(line[written:])
        except OSError:
            out.truncate(end)
            raise
