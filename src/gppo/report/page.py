"""The page: key facts, sections and charts put into one self-contained HTML file."""

from collections.abc import Sequence
from typing import Any

from gppo.report.headline import Card, card_of, pairs_of
from gppo.report.numbers import compact, count, duration, number
from gppo.report.pages import embedded_json, own_text, page_scripts, templates
from gppo.report.reading import RunData
from gppo.report.section import Section
from gppo.report.sections import sections_of

Fact = tuple[str, str]


def render(data: RunData, title: str, *, microscope: str = "") -> str:
    """The report as HTML.

    Everything read from the run is escaped, and a content security policy lets only the page's own three scripts run
    and forbids every request.

    Args:
        data: what the run has.
        title: the heading.
        microscope: the name of the microscope's file beside this one; "" where there is none.
    """
    pairs = pairs_of(data.evaluations)
    return page_of(
        title,
        "gppo run report",
        sections_of(data, pairs),
        notice=notice(data),
        facts=facts(data),
        cards=[card_of(pair) for pair in pairs],
        microscope=microscope,
    )


def page_of(
    title: str,
    eyebrow: str,
    sections: Sequence[Section],
    *,
    made_by: str = "gppo report",
    notice: str = "",
    facts: Sequence[Fact] = (),
    cards: Sequence[Card] = (),
    microscope: str = "",
) -> str:
    """A page of sections with charts.

    Args:
        title: the heading.
        eyebrow: the small line above it.
        sections: in reading order.
        made_by: the command, for the page's foot.
        notice: one sentence of warning, or "".
        facts: names and values below the heading.
        cards: headline numbers.
        microscope: see ``render``.
    """
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    scripts = {
        "theme": own_text("templates/theme.js"),
        "plotly": get_plotlyjs(),
        "page": own_text("templates/page.js"),
    }
    return (
        templates()
        .get_template("page.html.j2")
        .render(
            title=title,
            made_by=made_by,
            eyebrow=eyebrow,
            notice=notice,
            facts=facts,
            cards=cards,
            sections=sections,
            microscope=microscope,
            style=Markup(own_text("templates/style.css")),
            scripts=page_scripts(scripts),
            charts_json=Markup(embedded_json(figures(sections))),
        )
    )


def figures(sections: Sequence[Section]) -> dict[str, Any]:
    """Chart id -> plotly figure."""
    return {chart.id: chart.figure for section in sections for chart in section.charts}


def facts(data: RunData) -> list[Fact]:
    """What a reader wants to know first about the run."""
    rl, model = _part(data.recipe, "rl"), _part(data.recipe, "model")
    found: list[tuple[str, str | None]] = [
        ("Model", _model(model)),
        ("Objective", _objective(_part(rl, "objective")) if data.rl else None),
        ("SFT", f"{count(len(data.sft))} steps" if data.sft else None),
        ("RL", f"{count(len(data.rl))} steps" if data.rl else None),
        ("A step", _step(rl) if data.rl else None),
        ("Time", _seconds(data)),
        ("Seed", str(data.recipe["seed"]) if "seed" in data.recipe else None),
    ]
    return [(name, value) for name, value in found if value]


def notice(data: RunData) -> str:
    """One sentence where the run has fewer RL steps than its recipe asks for, else "" ."""
    stages = _part(data.recipe, "rl").get("stages") or []
    planned = sum(int(number(stage.get("steps")) or 0) for stage in stages if isinstance(stage, dict))
    if data.rl and len(data.rl) < planned:
        return f"Not finished: {count(len(data.rl))} of {count(planned)} steps"
    return ""


def _part(mapping: dict[str, Any], key: str) -> dict[str, Any]:
    value = mapping.get(key)
    return value if isinstance(value, dict) else {}


def _model(model: dict[str, Any]) -> str | None:
    if model.get("path"):
        return str(model["path"])
    tiny = _part(model, "tiny")
    return f"tiny Qwen3, {tiny['layers']} layers of {tiny['hidden_size']}" if "layers" in tiny else None


def _objective(objective: dict[str, Any]) -> str | None:
    if "name" not in objective:
        return None
    params = [f"{key} {compact(value)}" for key, value in _part(objective, "params").items()]
    return " · ".join([str(objective["name"]), *params])


def _step(rl: dict[str, Any]) -> str | None:
    if not {"prompts_per_step", "group_size"} <= rl.keys():
        return None
    return f"{count(rl['prompts_per_step'])} prompts × {count(rl['group_size'])} responses"


def _seconds(data: RunData) -> str | None:
    total = sum(number(row.get("seconds")) or 0 for row in [*data.sft, *data.rl])
    return duration(total) if total else None
