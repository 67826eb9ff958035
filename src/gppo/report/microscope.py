"""The token microscope: a page of its own on which saved rollouts can be read token by token."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gppo.report.numbers import count
from gppo.report.pages import embedded_json, own_text, page_scripts, templates
from gppo.report.pieces import Pieces, find_pieces
from gppo.report.tokens import Choice, Chosen, choose_rollouts, page_data
from gppo.run import RunFolder
from gppo.types.files import atomic_file

#: In the order in which they are joined: a module uses those before it.
MODULES = (
    "weights", "data", "colour", "format", "text", "strip", "picker", "chooser", "tally", "tables", "inspector", "app",
    "start",
)  # fmt: skip


def microscope_page(run: RunFolder, recipe: Mapping[str, Any], title: str, choice: Choice) -> str | None:
    """The page as HTML; None where the run has no rollouts.

    Raises:
        UserError: a step or a problem that was asked for is not there.
        GppoError: a file of rollouts is damaged.
    """
    from markupsafe import Markup

    chosen = choose_rollouts(run.rollouts, choice)
    if not chosen.rows:
        return None
    model = recipe.get("model")
    pieces = find_pieces(run.checkpoints, model if isinstance(model, dict) else {})
    data = page_data(chosen, pieces or Pieces({}), {"objective": objective_of(recipe)})
    joined = "\n".join(own_text(f"static/{name}.js") for name in MODULES)
    scripts = {"theme": own_text("templates/theme.js"), "microscope": f'"use strict";\n(() => {{\n{joined}}})();\n'}
    return (
        templates()
        .get_template("microscope.html.j2")
        .render(
            title=title,
            made_of=made_of(chosen, pieces is not None),
            style=Markup(own_text("templates/style.css") + own_text("static/microscope.css")),
            scripts=page_scripts(scripts),
            data_json=Markup(embedded_json(data)),
        )
    )


def objective_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The run's objective as the page's script takes it: gppo where the recipe names none."""
    rl = recipe.get("rl")
    objective = (rl.get("objective") if isinstance(rl, dict) else None) or {}
    return {
        "name": objective.get("name", "gppo"),
        "params": objective.get("params") or {},
        "dualClip": objective.get("dual_clip") or 0,
        "keep": bool(objective.get("dual_clip_keep")),
    }


def made_of(chosen: Chosen, readable: bool) -> str:
    """Which rollouts the page holds, and how to see others."""
    steps = sorted({row.step for row in chosen.rows})
    shown = f"{count(len(chosen.rows))} rollouts of step {_listed(steps)}."
    if len(chosen.rows) < chosen.responses:
        shown += " Of each step these are the groups that lost most, so shares are higher than in the whole run."
    if len(chosen.rows) < chosen.responses or len(steps) < chosen.steps:
        shown += f" {count(chosen.steps)} steps are saved; “gppo report RUN --step N --problem ID” shows others."
    return shown if readable else f"{shown} The run's tokenizer was not found: tokens are shown by their numbers."


def _listed(steps: list[int]) -> str:
    return ", ".join(map(str, steps[:-1])) + (" and " if len(steps) > 1 else "") + str(steps[-1])


def write_microscope(run: RunFolder, recipe: Mapping[str, Any], title: str, choice: Choice) -> Path | None:
    """Write ``microscope.html`` into the run folder; None where the run has no rollouts. Errors as above."""
    page = microscope_page(run, recipe, title, choice)
    if page is None:
        return None
    with atomic_file(run.microscope) as file:
        file.write(page.encode("utf-8", "backslashreplace"))
    return run.microscope
