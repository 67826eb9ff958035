"""Rows of JSONL, gzipped JSONL, JSON arrays and Parquet, one at a time."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gppo.records.arrays import array_rows, first_sign
from gppo.records.quarantine import BadRowError, Quarantine
from gppo.types import UserError
from gppo.types.files import plain

SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".parquet")
# In a Parquet file written here: the keys of extra_info that hold JSON text, because their values have no common type.
JSON_KEYS = b"gppo.json_keys"
_ROWS_AT_ONCE = 512


def suffix_of(path: Path) -> str:
    """Which of ``SUFFIXES`` the file's name ends with. A UserError where none fits."""
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise UserError(f"{path}: unknown kind of file; records are read from {', '.join(SUFFIXES)}")


def iter_rows(path: str | Path, quarantine: Quarantine | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream (number, row) from a records file; numbers start at 1 and are lines of JSONL, entries
    of a JSON array or rows of Parquet. A .json file whose first sign is no "[" is read as JSONL.

    Blank lines are skipped. Parquet values come as plain lists, dicts, text and numbers.

    Args:
        path: .jsonl, .jsonl.gz, .json or .parquet.
        quarantine: takes lines that are not JSON objects; without one such a line is a UserError.

    Raises:
        UserError: the file is missing, of another kind, or damaged.
    """
    path = Path(path)
    suffix = suffix_of(path)
    if not path.is_file():
        what = "is a folder; name a file in it" if path.is_dir() else "no such file; check the path"
        raise UserError(f"{path}: {what}")
    if suffix == ".parquet":
        return _parquet_rows(path)
    if suffix == ".json" and first_sign(path) == "[":
        return array_rows(path, quarantine)
    return _json_rows(path, suffix, quarantine)


def require_columns(path: Path, names: Iterable[str]) -> None:
    """Refuse a Parquet file without one of the columns, naming those it has. JSONL is judged row by row."""
    if suffix_of(path) != ".parquet" or not path.is_file():
        return
    with _open_parquet(path) as file:
        found = file.schema_arrow.names
    for name in names:
        if name not in found:
            raise UserError(f"{path}: no column '{name}'; the file has {', '.join(found)}; rename or add the column")


def _json_rows(path: Path, suffix: str, quarantine: Quarantine | None) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        with gzip.open(path, "rb") if suffix == ".jsonl.gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    row = _json_object(line)
                except BadRowError as bad:
                    if quarantine is None:
                        raise UserError(f"{path}: line {number}: {bad}") from bad
                    quarantine.add(number, str(bad), line.rstrip(b"\r\n"))
                else:
                    yield number, row
    except (EOFError, zlib.error, OSError) as error:
        raise UserError(f"{path}: cannot be read after line {number} ({error}); fetch the file again") from error


def _json_object(line: bytes) -> dict[str, Any]:
    if b"\0" in line:
        raise BadRowError("holds NUL bytes, as a crash while writing leaves them; write the file again")
    try:
        text = line.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadRowError(f"not UTF-8 (byte {error.start + 1} of the line); save the file as UTF-8") from error
    try:
        # NaN is no JSON but pandas and Python write it; it stands for a missing value.
        row = json.loads(text, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        raise BadRowError(
            f"not JSON ({error.msg} at character {error.pos + 1}); put one object on each line"
        ) from error
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"not JSON that can be read ({str(error).split(';')[0]}); write the value as text") from error
    if not isinstance(row, dict):
        raise BadRowError(f"a {type(row).__name__}, not an object; put one object in braces on each line")
    return row


def _open_parquet(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(". ")
        raise UserError(f"{path}: not a Parquet file that can be read ({reason}); fetch or write it again") from error


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    with _open_parquet(path) as file:
        json_keys = json.loads((file.schema_arrow.metadata or {}).get(JSON_KEYS, b"[]"))
        try:
            for batch in file.iter_batches(batch_size=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, _without_gaps(plain(row, fallback=str), json_keys)
        except (pa.ArrowException, OSError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(f"{path}: damaged after row {number} ({reason}); fetch or write it again") from error


def _without_gaps(row: dict[str, Any], json_keys: list[str]) -> dict[str, Any]:
    """Parquet fills every key of a struct in every row; a null in extra_info means that the row does not have it."""
    extra = row.get("extra_info")
    if isinstance(extra, dict):
        row["extra_info"] = {
            key: json.loads(value) if key in json_keys else value for key, value in extra.items() if value is not None
        }
    return row
