"""From a source's own columns to the columns of our records."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gppo.config.sources import ColumnsConfig, SourceConfig
from gppo.curate.formats import FORMATS
from gppo.records import BadRowError

Row = dict[str, Any]


def mapped(config: SourceConfig, row: Row) -> Iterable[Row]:
    """A source's row in our schema (``prompt``, ``ability``, ``reward_model``; or ``messages``); mostly one row.

    Raises:
        BadRowError: a column is missing or holds something else than it should.
    """
    if config.format is not None:
        return FORMATS[config.format](row)
    if config.columns is not None:
        return _by_columns(config.columns, row)
    return (row,)


def _by_columns(columns: ColumnsConfig, row: Row) -> Iterator[Row]:
    taken: Row = {}
    if columns.id:
        taken["id"] = value_at(row, columns.id)
    if columns.difficulty:
        taken["extra_info"] = {"difficulty": str(value_at(row, columns.difficulty))}
    if columns.messages:
        yield taken | {"messages": value_at(row, columns.messages)}
        return
    prompt = value_at(row, columns.prompt or "")
    if columns.response:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        response = value_at(row, columns.response)
        if not isinstance(turns, list) or not isinstance(response, str):
            raise BadRowError(f"'{columns.response}' is a {type(response).__name__}; name a column that holds text")
        yield taken | {"messages": [*turns, {"role": "assistant", "content": response}]}
        return
    taken |= {"prompt": prompt, "ability": columns.ability}
    if columns.answer:
        taken["reward_model"] = {"ground_truth": value_at(row, columns.answer)}
    yield taken


def value_at(row: Mapping[str, Any], name: str) -> Any:
    """The value of a column, or of a dotted name inside one.

    Raises:
        BadRowError: there is none, or it is null.
    """
    if row.get(name) is not None:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            value = None
        if value is None:
            raise BadRowError(
                f"no '{name}' (the row has {', '.join(row) or 'no keys'}); name another column, or fill it"
            )
    return value
