"""What a report reads: one run folder, any part of which may be missing or half written."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gppo.report.beside import Beside, beside_each_other
from gppo.report.samples import Sample, samples_of
from gppo.run import RunFolder
from gppo.types import UserError

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RunData:
    """Everything the page is made from.

    Args:
        folder: the run folder.
        recipe: the recipe as resolved; empty where there is none.
        recipe_text: the same as YAML text.
        environment: what the run recorded about its machine.
        sft: SFT metrics, one line a step, by step.
        rl: RL metrics, one line a step, by step.
        info: "info" lines merged in order, a later value of a key replacing an earlier one.
        funnel: "funnel" lines in order.
        evaluations: evaluation files without their per-sample lists, by step.
        samples: best and worst responses of the last saved step.
        beside: responses to one problem beside each other.
    """

    folder: Path
    recipe: dict[str, Any]
    recipe_text: str
    environment: dict[str, Any]
    sft: list[Line]
    rl: list[Line]
    info: dict[str, Any]
    funnel: list[Line]
    evaluations: list[Line]
    samples: list[Sample]
    beside: list[Beside]


def read_run(folder: Path) -> RunData:
    """Read what is there.

    Raises:
        UserError: there is no run in the folder, or a file of it is damaged.
    """
    run = RunFolder.open(folder)
    info: dict[str, Any] = {}
    for line in run.read_metrics("info"):
        info |= line
    recipe_text = _text(run.recipe)
    return RunData(
        folder=folder,
        recipe=_mapping(yaml.safe_load(recipe_text)),
        recipe_text=recipe_text,
        environment=_json(run.environment),
        sft=by_step(run.read_metrics("sft")),
        rl=by_step(run.read_metrics("rl")),
        info=info,
        funnel=list(run.read_metrics("funnel")),
        evaluations=_evaluations(run.evaluations),
        samples=samples_of(run.rollouts),
        beside=beside_each_other(run.rollouts),
    )


def by_step(lines: list[Line]) -> list[Line]:
    """One line a step, in order. A resumed run repeats steps: what was written last is what counted."""
    last = {line["step"]: line for line in lines if isinstance(line.get("step"), int)}
    return [last[step] for step in sorted(last)]


def _evaluations(folder: Path) -> list[Line]:
    found = []
    for path in sorted(folder.glob("step-*.json")):
        content = _json(path)
        if "name" not in content or "step" not in content or "summary" not in content:
            raise UserError(f"{path} is not an evaluation: evaluate again or remove the file")
        found.append({key: content.get(key) for key in ("name", "step", "sampling", "summary", "since_first")})
    return sorted(found, key=lambda one: (one["step"], one["name"]))


def _json(path: Path) -> Line:
    try:
        return _mapping(json.loads(_text(path) or "{}"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is not valid JSON ({error}): repair or remove the file") from error


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _mapping(value: Any) -> Line:
    return value if isinstance(value, dict) else {}
