"""A section of the page."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gppo.report.charts import Chart


@dataclass(frozen=True, slots=True)
class Section:
    """One section: its anchor, heading, one sentence on how to read it, charts, and what its own template needs.

    ``body`` names that template where it is not the anchor.
    """

    id: str
    title: str
    lead: str
    charts: list[Chart] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    body: str = ""


def section_of(
    id: str, title: str, lead: str, charts: Sequence[Chart | None], extra: dict[str, Any] | None = None
) -> Section | None:
    """The section of the charts that there are; None without any."""
    shown = paired([chart for chart in charts if chart is not None])
    return Section(id, title, lead, shown, extra or {}) if shown else None


def paired(charts: list[Chart]) -> list[Chart]:
    """Charts stand two in a row; a last one without a neighbour takes the row."""
    alone = sum(not chart.wide for chart in charts) % 2 == 1
    return [*charts[:-1], replace(charts[-1], wide=True)] if alone else charts
