"""verl's numbers on their way into the run's metrics: written beside the run by verl's process, read by ours."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: Our name of what verl calls otherwise.
_NAMES = {
    "actor/grad_norm": "grad_norm",
    "actor/lr": "learning_rate",
    "actor/entropy": "entropy",
    "actor/pg_loss": "policy_loss",
    "actor/kl_loss": "kl_ref",
    "timing_s/step": "seconds",
    "timing_s/gen": "seconds_generate",
    "timing_s/update_actor": "seconds_update",
    "training/rollout_probs_diff_mean": "mismatch_probability_mean",
    "training/rollout_probs_diff_max": "mismatch_probability_max",
    "train/loss": "loss",
    "train/grad_norm": "grad_norm",
    "train/lr": "learning_rate",
    "train/global_tokens": "tokens",
}
_OURS = ("gppo/", "actor/clip_", "actor/given_back", "actor/saturated", "actor/kl_old", "actor/ratio_", "actor/lm_")


class MetricsFile:
    """A logger for verl's Tracking: ``{"step", "data"}`` lines, appended, so that a restart loses none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def log(self, data: Mapping[str, Any], step: int) -> None:
        """Append the numbers of a step."""
        numbers = {key: float(value) for key, value in data.items() if isinstance(value, int | float | np.number)}
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, "data": numbers}) + "\n")


def as_ours(data: Mapping[str, float]) -> dict[str, float]:
    """verl's numbers of a step under the names that our own engine gives them; those without one are left out."""
    found = {}
    for key, value in data.items():
        if key in _NAMES:
            found[_NAMES[key]] = value
        elif key.startswith(_OURS):
            found[key.partition("/")[2]] = value
    return found


def new_lines(path: Path, offset: int) -> Iterator[tuple[int, int, dict[str, float]]]:
    """(offset behind it, step, verl's numbers) for each whole line from a place in the file on."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            item = json.loads(line)
            yield offset, int(item["step"]), item["data"]
