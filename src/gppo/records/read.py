"""Whole sets of problems and conversations; what cannot be used is set aside, counted and said."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from gppo.records.checks import Conversation, conversation_from_row, problem_from_row
from gppo.records.quarantine import BadRowError, Quarantine
from gppo.records.rows import iter_rows, require_columns, suffix_of
from gppo.types import Problem, UserError

Record = TypeVar("Record", Problem, Conversation)
_log = logging.getLogger(__name__)


def read_problems(path: str | Path, *, quarantine: str | Path | Quarantine | None = None) -> list[Problem]:
    """The problems of an RL or evaluation set, in the order of the file.

    The schema is verl's: ``data_source``, ``prompt`` (chat list, or text for one user turn), ``ability`` (math or
    code), ``reward_model.ground_truth`` and ``extra_info``. The id is ``extra_info.id``, else ``extra_info.index``,
    else the row's ``id``, else ``<stem>-<line>``. Of two rows with one id the first stays.

    Args:
        path: .jsonl, .jsonl.gz, .json or .parquet.
        quarantine: where bad rows go, by default ``<path>.quarantine.jsonl``. A ``Quarantine`` also gives the count.

    Raises:
        UserError: the file is missing, damaged, empty, lacks a column, or no row of it can be used.
    """
    return _read(Path(path), quarantine, ("prompt", "ability", "reward_model"), problem_from_row)


def read_conversations(path: str | Path, *, quarantine: str | Path | Quarantine | None = None) -> list[Conversation]:
    """The conversations of an SFT set, in the order of the file.

    Rows have ``messages``, and may have ``data_source`` and ``extra_info``; ids are found as by ``read_problems``.

    Args:
        path: .jsonl, .jsonl.gz, .json or .parquet.
        quarantine: where bad rows go, by default ``<path>.quarantine.jsonl``. A ``Quarantine`` also gives the count.

    Raises:
        UserError: the file is missing, damaged, empty, lacks a column, or no row of it can be used.
    """
    return _read(Path(path), quarantine, ("messages",), conversation_from_row)


def _read(
    path: Path,
    quarantine: str | Path | Quarantine | None,
    columns: Iterable[str],
    convert: Callable[[dict[str, Any], str], Record],
) -> list[Record]:
    if quarantine is None:
        quarantine = Quarantine.beside(path)
    elif not isinstance(quarantine, Quarantine):
        quarantine = Quarantine(quarantine)
    require_columns(path, columns)
    stem = path.name[: -len(suffix_of(path))]
    records: list[Record] = []
    line_of_id: dict[str, int] = {}
    with quarantine:
        for line, row in iter_rows(path, quarantine):
            try:
                record = convert(row, f"{stem}-{line}")
                if record.id in line_of_id:
                    raise BadRowError(f"id '{record.id}' was given on line {line_of_id[record.id]}; make ids differ")
            except BadRowError as bad:
                quarantine.add(line, str(bad), row)
            else:
                line_of_id[record.id] = line
                records.append(record)
    total = len(records) + quarantine.count
    if total == 0:
        raise UserError(f"{path}: the file has no rows; write at least one")
    if not records:
        raise UserError(
            f"{path}: none of its {total} rows can be used, the first because of {quarantine.first}; "
            f"all are in {quarantine.path}"
        )
    if quarantine.count:
        _log.warning("%s: %d of %d rows set aside in %s", path, quarantine.count, total, quarantine.path)
    return records
