"""The sections of the page, each None where the run has nothing for it."""

from collections.abc import Sequence
from typing import Any

from gppo.report.headline import Pair, accuracy_charts, pass_at_charts, table_of
from gppo.report.numbers import count, number
from gppo.report.reading import RunData
from gppo.report.section import Section, paired
from gppo.report.training import clipping, health, learning, time


def sections_of(data: RunData, pairs: Sequence[Pair]) -> list[Section]:
    """All sections that the run has something for, in reading order."""
    found = [
        accuracy(data, pairs),
        learning(data),
        clipping(data),
        health(data),
        time(data),
        samples(data),
        setup(data),
    ]
    return [section for section in found if section is not None]


def accuracy(data: RunData, pairs: Sequence[Pair]) -> Section | None:
    """Before against after."""
    if not pairs:
        return None
    unseen = [str(name) for name in data.info.get("unseen_difficulties") or []]
    lead = (
        "Each dot is the share of right answers, averaged over problems; the bar is one standard error, "
        "which says how far the number would move with other problems of the same kind."
    )
    if unseen:
        lead += " Groups marked “unseen” never occurred in training."
    charts = paired(accuracy_charts(pairs, unseen)) + paired(pass_at_charts(pairs))
    return Section("accuracy", "Before and after", lead, charts, {"rows": table_of(pairs, unseen)})


def samples(data: RunData) -> Section | None:
    """Responses to read."""
    if not data.samples:
        return None
    lead = (
        "Responses to one problem beside each other, then the highest and the lowest rewards of step "
        f"{data.samples[0].step}, the last one saved. Reasoning is folded; open it to read along."
    )
    return Section("samples", "Samples", lead, extra={"samples": data.samples, "beside": data.beside})


def setup(data: RunData) -> Section | None:
    """What is needed to do it again."""
    if not (data.recipe_text or data.environment or data.funnel):
        return None
    extra = {
        "heading": "Where the data went",
        "funnel": funnel_bars(data.funnel),
        "recipe": data.recipe_text,
        "environment": _flat(data.environment),
    }
    return Section("setup", "Recipe and environment", "Everything that is needed to run it again.", extra=extra)


def funnel_bars(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the template of a funnel needs for each line: ``set`` and ``step``, ``rows_in``, ``rows_out``, ``why``."""
    most = max((number(line.get("rows_in")) or 0 for line in lines), default=0)
    return [
        {
            "step": ": ".join(str(line[key]) for key in ("set", "step") if line.get(key)),
            "rows_in": count(line.get("rows_in")),
            "rows_out": count(line.get("rows_out")),
            "why": str(line.get("why", "")),
            "in_width": 100 * (number(line.get("rows_in")) or 0) / most if most else 0,
            "out_width": 100 * (number(line.get("rows_out")) or 0) / most if most else 0,
        }
        for line in lines
    ]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as dotted keys and texts."""
    if isinstance(value, dict):
        return [
            pair for key, inner in value.items() for pair in _flat(inner, f"{prefix}.{key}" if prefix else str(key))
        ]
    if isinstance(value, list) and all(not isinstance(inner, dict | list) for inner in value):
        return [(prefix, ", ".join(map(str, value)))]
    return [(prefix, str(value))]
