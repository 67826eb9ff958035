"""Evaluations on disk: one JSON file each, with every sample's verdict and the numbers that a report shows."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gppo.evaluate.paired import paired_difference
from gppo.evaluate.statistics import Summary, summarise
from gppo.types import Evaluation, SamplingSettings, UserError
from gppo.types.files import atomic_file, json_line, plain

FORMAT = 1


def evaluation_path(folder: Path, evaluation: Evaluation) -> Path:
    """Where an evaluation is kept: ``<folder>/step-000060--heldout-T-1.0.json``."""
    return folder / f"{_stem(evaluation.name, evaluation.step)}.json"


def results_path(folder: Path, name: str, step: int) -> Path:
    """Where an evaluation's responses are, one line each: ``<folder>/step-000060--heldout-T-1.0.results.jsonl``."""
    return folder / f"{_stem(name, step)}.results.jsonl"


def _stem(name: str, step: int) -> str:
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", name).strip("-.") or "evaluation"
    return f"step-{step:06d}--{slug}"


def save_evaluation(folder: Path, evaluation: Evaluation, key: str = "") -> Path:
    """Write one evaluation and return its file; the same name at the same step is replaced, never half written.

    Its "summary" holds :func:`summary_to_json`; its "since_first" the paired differences to the earliest evaluation of
    the same name in the folder, null where there is none or where that one holds other problems.

    Args:
        folder: a run's ``evaluations`` folder; made where it is missing.
        evaluation: the judged samples.
        key: changes with everything that the result depends on, for ``finished_evaluation``.

    Raises:
        UserError: another evaluation whose name gives the same file name is already there.
    """
    path = evaluation_path(folder, evaluation)
    if path.exists() and (other := _read(path).get("name")) != evaluation.name:
        raise UserError(
            f"{path} already holds the evaluation '{other}': rename it or '{evaluation.name}' in the recipe"
        )
    with atomic_file(path) as file:
        file.write(json_line(_to_json(evaluation, _first(folder, evaluation), key)))
    return path


def finished_evaluation(folder: Path, name: str, step: int, key: str) -> Evaluation | None:
    """The saved evaluation of this name and step, where it was saved with this key."""
    path = folder / f"{_stem(name, step)}.json"
    if not path.is_file():
        return None
    content = _read(path)
    return load_evaluation(path) if (content.get("name"), content.get("key")) == (name, key) else None


def load_evaluation(path: Path) -> Evaluation:
    """Read one evaluation back.

    Raises:
        UserError: the file is missing, is not JSON, or is not an evaluation.
    """
    content = _read(path)
    try:
        return Evaluation(
            name=content["name"],
            step=content["step"],
            sampling=SamplingSettings(**content["sampling"]),
            problem_ids=tuple(content["problem_ids"]),
            difficulty=tuple(content["difficulty"]),
            correct_PK=_matrix(content["correct"], np.bool_),
            valid_PK=_matrix(content["valid"], np.bool_),
            lengths_PK=_matrix(content["lengths"], np.int64),
            truncated_PK=_matrix(content["truncated"], np.bool_),
            votes_PK=None if content.get("votes") is None else _matrix(content["votes"], np.int64),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not an evaluation ({error}): evaluate again or remove the file") from error


def load_evaluations(folder: Path) -> list[Evaluation]:
    """Every evaluation of a folder, by step and then name; none where the folder is missing.

    Raises:
        UserError: a file cannot be read as an evaluation.
    """
    found = [load_evaluation(path) for path in folder.glob("step-*.json")]
    return sorted(found, key=lambda evaluation: (evaluation.step, evaluation.name))


def last_evaluations(folder: Path) -> dict[str, Evaluation]:
    """The last evaluation of each name in a folder of evaluations. Errors as from ``load_evaluations``."""
    return {evaluation.name: evaluation for evaluation in load_evaluations(folder)}


def summary_to_json(summary: Summary) -> dict[str, Any]:
    """The summary as plain JSON values, the score's beside the others; NaN (undefined) becomes null."""
    values = asdict(summary)
    return plain(values.pop("score") | values)


def _first(folder: Path, evaluation: Evaluation) -> Evaluation | None:
    """The earliest evaluation of the same name and the same problems that came before this one."""
    pattern = evaluation_path(folder, evaluation).name.split("--", 1)[1]
    earlier = [
        found for path in folder.glob(f"step-*--{pattern}") if (found := load_evaluation(path)).step < evaluation.step
    ]
    first = min(earlier, key=lambda found: found.step, default=None)
    return first if first is not None and set(first.problem_ids) == set(evaluation.problem_ids) else None


def _since(first: Evaluation | None, evaluation: Evaluation) -> dict[str, Any] | None:
    """The paired difference to ``first``, over all problems and over each difficulty."""
    if first is None:
        return None
    labels_P = np.asarray(first.difficulty, dtype=object)

    return {
        "step": first.step,
        **asdict(paired_difference(first, evaluation)),
        "by_difficulty": {
            label: asdict(paired_difference(first, evaluation, labels_P == label))
            for label in sorted(set(first.difficulty) - {""})
        },
    }


def _to_json(evaluation: Evaluation, first: Evaluation | None, key: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": evaluation.name,
        "step": evaluation.step,
        "key": key,
        "sampling": asdict(evaluation.sampling),
        "summary": summary_to_json(summarise(evaluation)),
        "since_first": _since(first, evaluation),
        "problem_ids": list(evaluation.problem_ids),
        "difficulty": list(evaluation.difficulty),
        "correct": evaluation.correct_PK.astype(int).tolist(),
        "valid": evaluation.valid_PK.astype(int).tolist(),
        "lengths": evaluation.lengths_PK.astype(int).tolist(),
        "truncated": evaluation.truncated_PK.astype(int).tolist(),
        "votes": None if evaluation.votes_PK is None else evaluation.votes_PK.tolist(),
    }


def _matrix(rows: list[list[int]], dtype: type[np.generic]) -> np.ndarray:
    """[P, k]; an evaluation without problems keeps two axes."""
    return np.asarray(rows, dtype=dtype).reshape(len(rows), -1 if rows else 0)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist: give the path of a saved evaluation") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path} is not valid JSON ({error}): evaluate again or remove the file") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not an evaluation (a JSON object is expected): evaluate again or remove the file")
    return content
