"""The page: key facts, sections and charts put into one self-contained HTML file."""

import json
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from gppo.report.headline import Card, card_of, pairs_of
from gppo.report.numbers import compact, count, duration, number, percent
from gppo.report.reading import RunData
from gppo.report.section import Section
from gppo.report.sections import sections_of

Fact = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Script:
    """A script of the page and the hash that lets the browser run it."""

    text: str
    hash: str


def render(data: RunData, title: str | None = None) -> str:
    """The report as HTML."""
    pairs = pairs_of(data.evaluations)
    return compose(
        title or str(data.recipe.get("name") or data.folder.name),
        sections_of(data, pairs),
        made_by="gppo report",
        eyebrow="gppo run report",
        notice=notice(data),
        facts=facts(data),
        cards=[card_of(pair) for pair in pairs],
    )


def compose(
    title: str,
    sections: Sequence[Section],
    *,
    made_by: str,
    eyebrow: str,
    notice: str = "",
    facts: Sequence[Fact] = (),
    cards: Sequence[Card] = (),
) -> str:
    """A page of sections as HTML.

    Everything that is put into it is escaped, and a content security policy lets only the page's own three scripts run
    and forbids every request.

    Args:
        title: the heading.
        sections: in reading order.
        made_by: the command, for the page's foot.
        eyebrow: what stands above the heading.
        notice: a sentence that stands out below it.
        facts: what a reader wants to know first.
        cards: headline numbers.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    templates = Environment(
        loader=PackageLoader("gppo.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"percent": percent, "compact": compact, "count": count}

    def own(name: str) -> str:
        return templates.loader.get_source(templates, name)[0] if templates.loader else ""

    scripts = {"theme": own("theme.js"), "plotly": get_plotlyjs(), "page": own("page.js")}
    return templates.get_template("page.html.j2").render(
        title=title,
        made_by=made_by,
        eyebrow=eyebrow,
        notice=notice,
        facts=facts,
        cards=cards,
        sections=sections,
        style=Markup(own("style.css")),
        scripts={name: _script(text) for name, text in scripts.items()},
        charts_json=Markup(embedded_json(figures(sections))),
    )


def figures(sections: Sequence[Section]) -> dict[str, Any]:
    """Chart id -> plotly figure."""
    return {chart.id: chart.figure for section in sections for chart in section.charts}


def embedded_json(value: Any) -> str:
    """JSON that stays inert inside a script element: ``<``, ``>`` and ``&`` cannot end it or open another."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


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


def _script(text: str) -> Script:
    from markupsafe import Markup

    digest = b64encode(sha256(text.encode()).digest()).decode()
    return Script(Markup(text), f"sha256-{digest}")


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
