"""Training records from their sources, one at a time and all of one kind."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gppo.config import SourceConfig
from gppo.records import BadRowError, Conversation, Quarantine, conversation_from_row, iter_rows, problem_from_row
from gppo.types import Problem, UserError

Kind = Literal["problems", "conversations"]
Training = Problem | Conversation


@dataclass(slots=True)
class Source:
    """A source while it is read.

    Args:
        name: how the funnel names it.
        data: the file.
        quarantine: where rows go that cannot be used; it counts them.
        usable: rows that could be used so far.
    """

    name: str
    data: Path
    quarantine: Quarantine
    usable: int = 0


def file_name(name: str) -> str:
    """A name as part of a file's name: lower case, letters and digits of any script, the rest "-"."""
    return re.sub(r"[\W_]+", "-", name).strip("-").lower() or "unnamed"


def open_sources(configs: Sequence[SourceConfig], folder: Path) -> list[Source]:
    """Sources with a quarantine file each in ``folder``."""
    return [
        Source(config.name, config.data, Quarantine(folder / f"{position}-{file_name(config.name)}.quarantine.jsonl"))
        for position, config in enumerate(configs, start=1)
    ]


def kind_of(sources: Sequence[Source]) -> Kind:
    """Problems (``prompt`` and ``reward_model``) or conversations (``messages``), by the columns of each source.

    Raises:
        UserError: a source is neither, or two sources differ.
    """
    kinds = [_kind_of(source) for source in sources]
    for source, kind in zip(sources, kinds, strict=True):
        if kind != kinds[0]:
            raise UserError(
                f"curate.sources: '{sources[0].name}' holds {kinds[0]} and '{source.name}' holds {kind}; "
                "give each kind its own recipe"
            )
    return kinds[0]


def read_sources(sources: Sequence[Source], kind: Kind) -> Iterator[tuple[str, Training]]:
    """Stream (source name, record) in the order of the sources.

    Ids come out unique: one that was there before gets the name of its source and its line behind it. A record that
    does not say where it comes from gets the name of its source.
    """
    convert = problem_from_row if kind == "problems" else conversation_from_row
    ids: set[str] = set()
    for source in sources:
        with source.quarantine as quarantine:
            for line, row in iter_rows(source.data, quarantine):
                try:
                    record = convert(row, f"{source.name}-{line}")
                except BadRowError as bad:
                    quarantine.add(line, str(bad), row)
                    continue
                source.usable += 1
                unique = record.id
                while unique in ids:
                    unique = f"{unique}@{source.name}-{line}"
                ids.add(unique)
                yield source.name, _named(record, unique, source.name)


def _kind_of(source: Source) -> Kind:
    columns = ""
    with source.quarantine as quarantine:
        for _, row in iter_rows(source.data, quarantine):
            if "messages" in row:
                return "conversations"
            if "prompt" in row and "reward_model" in row:
                return "problems"
            columns = columns or ", ".join(row)
    raise UserError(
        f"{source.data}: no row is a problem (prompt, ability, reward_model) or a conversation (messages), the first "
        f"has {columns or 'nothing that can be read'}; rename the columns"
    )


def _named(record: Training, name: str, source: str) -> Training:
    if isinstance(record, Problem):
        return dataclasses.replace(record, id=name, data_source=record.data_source or source)
    return dataclasses.replace(record, id=name, source=record.source or source)
