"""The step that says how hard each problem is: the share of k responses of a model that are right."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gppo.config import DifficultyConfig
from gppo.curate.judging import unit_share
from gppo.curate.step import Bench, Item, Items, Replaced, Training
from gppo.records import iter_rows
from gppo.types import UserError

#: Keys of ``extra`` that the step writes.
PASS_RATE, HARDNESS = "pass_rate", "hardness"


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Labels rows with ``extra["pass_rate"]`` and ``extra["hardness"]``, "easy" or "hard"; none goes.

    A row without a pass rate (not in the file, no reference answer, refused by the server, the judge failed on every
    response) gets no label and is counted in a note.
    """

    config: DifficultyConfig

    passes = 1

    @property
    def title(self) -> str:
        """How the funnel names it."""
        return f"difficulty, {self._origin}"

    def changes(self, items: Items, bench: Bench) -> Iterator[Replaced]:
        """Every row with a label."""
        easy = labelled = total = 0
        for item, rate in self._rates(items, bench):
            total += 1
            if rate is None:
                continue
            labelled += 1
            easy += rate >= self.config.easy_from
            label = "easy" if rate >= self.config.easy_from else "hard"
            record = item.record
            yield Replaced(item, replace(record, extra={**record.extra, PASS_RATE: rate, HARDNESS: label}))
        bench.notes.append(f"{easy} easy (a pass rate of {self.config.easy_from:g} or more), {labelled - easy} hard")
        if labelled < total:
            bench.notes.append(f"{total - labelled} without a pass rate")

    @property
    def _origin(self) -> str:
        config = self.config
        if config.endpoint is not None:
            return f"{config.k} responses of {config.endpoint.model}"
        if config.model is not None:
            return f"{config.k} responses of {config.model.path or 'a tiny model'}"
        return f"from '{config.column}'" if config.column else f"from {config.file}"

    def _rates(self, items: Items, bench: Bench) -> Iterator[tuple[Item, float | None]]:
        if self.config.model is not None or self.config.endpoint is not None:
            from gppo.curate.measured import measured_rates  # torch only where a model is asked

            yield from measured_rates(self.config, items, bench)
            return
        told = _told(self.config.file) if self.config.file else None
        found = total = 0
        for item in items:
            value = item.record.extra.get(str(self.config.column)) if told is None else _of(item.record, told)
            where = f"record {item.record.id}: its pass rate"
            yield item, None if value is None else unit_share(value, where)
            total += 1
            found += value is not None
        if total and not found:
            raise UserError(
                f"curate: difficulty {self._origin}: no row has a pass rate there; check the name and the ids"
            )


def _of(record: Training, told: dict[str, Any]) -> Any:
    """What is told of a record by its id, or by that of the problem that it answers, as in distilled sets."""
    return told.get(record.id, told.get(str(record.extra.get("problem_id"))))


def _told(path: Path) -> dict[str, Any]:
    rates = {}
    for line, row in iter_rows(path):
        if "id" not in row or "pass_rate" not in row:
            raise UserError(f"{path}: line {line} has {', '.join(row)}; give id and pass_rate")
        rates[str(row["id"])] = row["pass_rate"]
    return rates
