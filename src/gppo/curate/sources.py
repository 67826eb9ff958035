"""Training records from their sources, one at a time and all of one kind."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gppo.config import SourceConfig
from gppo.curate.columns import mapped
from gppo.curate.hub import iter_hub
from gppo.curate.step import Kind, Training
from gppo.records import BadRowError, Quarantine, conversation_from_row, iter_rows, problem_from_row
from gppo.types import Problem, UserError


@dataclass(slots=True)
class Source:
    """A source while it is read.

    Args:
        config: what the recipe says of it.
        quarantine: where rows go that cannot be used; it counts them.
        usable: records that could be made of it so far.
    """

    config: SourceConfig
    quarantine: Quarantine
    usable: int = 0

    @property
    def name(self) -> str:
        """How the funnel names it."""
        return self.config.name

    @property
    def place(self) -> str:
        """Its file or data set."""
        return str(self.config.data or self.config.hub)

    def rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """(number, row) as the source has them. What is no row goes to the quarantine."""
        if self.config.data is not None:
            return iter_rows(self.config.data, self.quarantine)
        return iter_hub(self.config)


def file_name(name: str) -> str:
    """A name as part of a file's name: lower case, letters and digits of any script, the rest "-"."""
    return re.sub(r"[\W_]+", "-", name).strip("-").lower() or "unnamed"


def open_sources(configs: Sequence[SourceConfig], folder: Path) -> list[Source]:
    """Sources with a quarantine file each in ``folder``."""
    return [
        Source(config, Quarantine(folder / f"{position}-{file_name(config.name)}.quarantine.jsonl"))
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
            for line, row in source.rows():
                try:
                    records = [
                        convert(each, f"{source.name}-{line}" + (f".{part}" if part else ""))
                        for part, each in enumerate(mapped(source.config, row))
                    ]
                except BadRowError as bad:
                    quarantine.add(line, str(bad), row)
                    continue
                for record in records:
                    source.usable += 1
                    unique = record.id
                    while unique in ids:
                        unique = f"{unique}@{source.name}-{line}"
                    ids.add(unique)
                    yield source.name, _named(record, unique, source.name)


def read_questions(source: Source) -> list[Problem]:
    """The problems of an evaluation set, of which only the questions matter: answers may be missing.

    Raises:
        UserError: it cannot be read, or no row of it can be used.
    """
    problems: list[Problem] = []
    with source.quarantine as quarantine:
        for line, row in source.rows():
            try:
                problems += [_asked(each, f"{source.name}-{line}") for each in mapped(source.config, row)]
            except BadRowError as bad:
                quarantine.add(line, str(bad), row)
    if not problems:
        reason = source.quarantine.first or "it has no rows"
        raise UserError(f"{source.place}: no evaluation problem can be read ({reason}); mend it or name its columns")
    source.usable = len(problems)
    return problems


def _asked(row: dict[str, Any], fallback_id: str) -> Problem:
    if row.get("prompt") is None and row.get("messages") is not None:
        row = {"prompt": row["messages"], **{key: value for key, value in row.items() if key in ("id", "extra_info")}}
    return problem_from_row({"ability": "math", **row, "reward_model": {"ground_truth": "not read"}}, fallback_id)


def _kind_of(source: Source) -> Kind:
    columns = ""
    with source.quarantine as quarantine:
        for line, row in source.rows():
            try:
                found = next(iter(mapped(source.config, row)), {})
            except BadRowError as bad:
                quarantine.add(line, str(bad), row)
                columns = columns or f"{', '.join(row)}: {bad}"
                continue
            if "messages" in found:
                return "conversations"
            if "prompt" in found and "reward_model" in found:
                return "problems"
            columns = columns or ", ".join(row)
    raise UserError(
        f"{source.place}: no row is a problem (prompt, ability, reward_model) or a conversation (messages), the first "
        f"has {columns or 'nothing that can be read'}; name its columns in the recipe, or its format"
    )


def _named(record: Training, name: str, source: str) -> Training:
    if isinstance(record, Problem):
        return dataclasses.replace(record, id=name, data_source=record.data_source or source)
    return dataclasses.replace(record, id=name, source=record.source or source)
