"""Problems and conversations to JSONL or Parquet, whole files or none."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from gppo.records.checks import Conversation
from gppo.records.rows import JSON_KEYS, suffix_of
from gppo.types import Problem, UserError
from gppo.types.files import atomic_file, json_line, plain

_TURNS = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
_PROBLEM_FIELDS = [
    ("data_source", pa.string()),
    ("prompt", _TURNS),
    ("ability", pa.string()),
    ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
]
_CONVERSATION_FIELDS = [("data_source", pa.string()), ("messages", _TURNS)]
_ROWS_AT_ONCE = 4096
_ARROW_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}


def write_problems(path: str | Path, problems: Iterable[Problem]) -> int:
    """Write an RL or evaluation set that ``read_problems`` gives back equal. NaN in ``extra`` becomes null.

    Args:
        path: .jsonl or .parquet.
        problems: written in their order.

    Returns:
        How many were written.

    Raises:
        GppoError: the disk is full.
        UserError: the place cannot be written to, or the name ends otherwise.
    """
    return _write(Path(path), (_problem_row(problem) for problem in problems), _PROBLEM_FIELDS)


def write_conversations(path: str | Path, conversations: Iterable[Conversation]) -> int:
    """Write an SFT set that ``read_conversations`` gives back equal. NaN in ``extra`` becomes null.

    Args:
        path: .jsonl or .parquet.
        conversations: written in their order.

    Returns:
        How many were written.

    Raises:
        GppoError: the disk is full.
        UserError: the place cannot be written to, or the name ends otherwise.
    """
    return _write(Path(path), (_conversation_row(item) for item in conversations), _CONVERSATION_FIELDS)


def _problem_row(problem: Problem) -> dict[str, Any]:
    extra = dict(problem.extra)
    reward = {"style": str(extra.pop("reward_style", "rule")), "ground_truth": problem.ground_truth}
    return {
        "data_source": problem.data_source,
        "prompt": list(problem.prompt),
        "ability": problem.ability,
        "reward_model": reward,
        "extra_info": _extra_info(problem.id, extra),
    }


def _conversation_row(item: Conversation) -> dict[str, Any]:
    return {
        "data_source": item.source,
        "messages": list(item.messages),
        "extra_info": _extra_info(item.id, item.extra),
    }


def _extra_info(record_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    return {**plain(extra), "id": record_id}


def _write(path: Path, rows: Iterable[dict[str, Any]], fields: list[tuple[str, pa.DataType]]) -> int:
    suffix = suffix_of(path)
    if suffix not in (".jsonl", ".parquet"):
        raise UserError(f"{path}: records are written as .jsonl or .parquet; change the name's end")
    with atomic_file(path) as file:
        if suffix == ".jsonl":
            count = 0
            for row in rows:
                file.write(json_line(row))
                count += 1
            return count
        return _write_parquet(file, path, rows, fields)


def _write_parquet(
    file: BinaryIO, path: Path, rows: Iterable[dict[str, Any]], fields: list[tuple[str, pa.DataType]]
) -> int:
    """Two passes, as the types of extra_info are known after the last row: over the rows, which wait on disk, and over
    that file."""
    kinds: dict[str, set[type]] = {}
    count = 0
    with tempfile.TemporaryFile(dir=path.parent) as waiting:
        for row in rows:
            for key, value in row["extra_info"].items():
                kinds.setdefault(key, set()).add(_kind(value))
            waiting.write(json_line(row))
            count += 1
        waiting.seek(0)
        types = {key: _ARROW_TYPES.get(found.pop()) if len(found) == 1 else None for key, found in kinds.items()}
        json_keys = [key for key, common in types.items() if common is None]
        # A struct needs a field even where there is no row.
        struct = pa.struct([(key, common or pa.string()) for key, common in types.items()] or [("id", pa.string())])
        schema = pa.schema([*fields, ("extra_info", struct)], metadata={JSON_KEYS: json.dumps(json_keys)})
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            while batch := [json.loads(line) for line in islice(waiting, _ROWS_AT_ONCE)]:
                for extra in (row["extra_info"] for row in batch):
                    for key in extra.keys() & set(json_keys):
                        extra[key] = json.dumps(extra[key], ensure_ascii=False)
                writer.write_table(pa.Table.from_pylist(batch, schema=schema))
    return count


def _kind(value: Any) -> type:
    """What decides a column's type; an integer that no column of integers holds has a kind of its own."""
    return object if type(value) is int and not -(2**63) <= value < 2**63 else type(value)
