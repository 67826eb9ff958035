"""Whole files or none, and lines of valid JSON: what every room that writes to disk shares."""

import errno
import json
import math
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gppo.types.errors import GppoError, UserError

_FULL = {
    errno.ENOSPC: "no space left on the device; free some",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EFBIG: "the limit on a file's size is reached; raise it (ulimit -f)",
}


@contextmanager
def full_disk_as_error(path: Path) -> Iterator[None]:
    """Turn a full disk, quota or size limit met while writing ``path`` into a GppoError of one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise GppoError(f"{path}: {_FULL[error.errno]} and run the same command again") from error
        raise


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when it is whole and on disk.

    The bytes go to a temporary file beside ``path``; leaving the block syncs it and renames it, an exception inside
    removes it and leaves an older ``path`` as it was. Missing folders are made.

    Raises:
        GppoError: the disk is full.
        UserError: the place cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with full_disk_as_error(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            file = open(temporary, "xb")  # noqa: SIM115  # closed below; only opening may blame the place
        except OSError as error:
            if error.errno in _FULL:
                raise
            raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system lets a folder be opened."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain(value: Any, fallback: Callable[[Any], Any] | None = None) -> Any:
    """The value as JSON knows it: arrays and tuples become lists, dates ISO text, NaN and infinities None.

    Args:
        value: nested mappings, sequences, numpy or torch values, paths, dates, bytes (read as UTF-8).
        fallback: called for a type that is none of these; without it such a type is a TypeError.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item, fallback) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, fallback) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist(), fallback)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if fallback is not None:
        return fallback(value)
    raise TypeError(f"a {type(value).__name__} cannot be written as JSON")


def json_line(value: Any) -> bytes:
    """One line of valid JSON in UTF-8, its newline included. Broken surrogates are written as escapes."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"
