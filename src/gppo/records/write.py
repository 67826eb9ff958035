"""Problems and conversations to JSONL or Parquet, whole files or none."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

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
        table = _table(list(rows), fields)
        pq.write_table(table, file, compression="zstd")
        return table.num_rows


def _table(rows: list[dict[str, Any]], fields: list[tuple[str, pa.DataType]]) -> pa.Table:
    """One column for each field, and extra_info as a struct of every key that any row has."""
    extras = [row["extra_info"] for row in rows]
    types = {key: _common_type(extras, key) for key in dict.fromkeys(key for extra in extras for key in extra)}
    json_keys = [key for key, common in types.items() if common is None]
    for extra in extras:
        for key in extra.keys() & set(json_keys):
            extra[key] = json.dumps(extra[key], ensure_ascii=False)
    # A struct needs a field even where there is no row.
    struct = pa.struct([(key, common or pa.string()) for key, common in types.items()] or [("id", pa.string())])
    schema = pa.schema([*fields, ("extra_info", struct)], metadata={JSON_KEYS: json.dumps(json_keys)})
    return pa.Table.from_pylist(rows, schema=schema)


def _common_type(extras: list[dict[str, Any]], key: str) -> pa.DataType | None:
    """The Arrow type that holds all values of a key as they are, or None where there is no such type."""
    values = [extra[key] for extra in extras if key in extra]
    kinds = {type(value) for value in values}
    if len(kinds) != 1:
        return None
    kind = kinds.pop()
    if kind is int and not all(-(2**63) <= value < 2**63 for value in values):
        return None
    return _ARROW_TYPES.get(kind)
