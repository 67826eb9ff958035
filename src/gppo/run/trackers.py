"""Trackers: a run's curves in TensorBoard or Weights & Biases. ``metrics.jsonl`` is the truth, trackers follow it."""

import importlib.util
import json
import secrets
import time
from collections.abc import Mapping, Sequence
from math import isfinite
from numbers import Real
from pathlib import Path
from typing import Any, Protocol

from gppo.types import UserError
from gppo.types.files import atomic_file, json_line

Line = Mapping[str, Any]


class Tracker(Protocol):
    """Where a run's curves go besides the run folder."""

    def rewind(self, lines: Sequence[Line]) -> None:
        """These are the run's lines now: at its start, and when steps after a checkpoint are made again."""

    def log(self, line: Line) -> None:
        """One more line: "kind", "step" and numbers. Lines without a step are none of a curve."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse, before anything is loaded or made, what is not installed.

    Raises:
        UserError: the package of a tracker is absent.
    """
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"trackers: {name} is not installed; install it with `pip install 'gppo[{name}]'`, or take it out of "
                "the recipe's trackers"
            )


def open_trackers(names: Sequence[str], folder: Path, title: str, recipe: Mapping[str, Any]) -> tuple[Tracker, ...]:
    """The trackers that a recipe names.

    Args:
        names: "tensorboard", "wandb".
        folder: the run folder; each keeps what it needs in it.
        title: the run's name.
        recipe: as plain values, for trackers that show it.

    Raises:
        UserError: a package is absent, or wandb refuses to begin.
    """
    check_trackers(names)
    made: dict[str, Any] = {
        "tensorboard": lambda: TensorBoard(folder / "tensorboard"),
        "wandb": lambda: WandB(folder, title, recipe),
    }
    return tuple(made[name]() for name in dict.fromkeys(names))


class TensorBoard:
    """An event file in a folder. It is written anew from the metrics when the run begins or goes on.

    So it never holds a step twice, whatever the reader does with restarts. Every line is flushed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None

    def rewind(self, lines: Sequence[Line]) -> None:
        """Begin a new event file with these lines, in place of older ones."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._writer is not None:
            self._writer.close()
        for old in self.folder.glob("events.out.tfevents.*"):
            old.unlink()
        self._writer = EventFileWriter(str(self.folder))
        # A TensorBoard that is looking on forgets what it read from the file before.
        session = SessionLog(status=SessionLog.START)
        self._writer.add_event(Event(wall_time=time.time(), step=0, session_log=session))
        for line in lines:
            self._add(line)
        self._writer.flush()

    def log(self, line: Line) -> None:
        """Append one line."""
        self._add(line)
        self._writer.flush()

    def _add(self, line: Line) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        numbers = curve_points(line)
        if numbers:
            values = [Summary.Value(tag=tag, simple_value=value) for tag, value in numbers.items()]
            event = Event(wall_time=line.get("time") or time.time(), step=line["step"], summary=Summary(value=values))
            self._writer.add_event(event)


class WandB:
    """One wandb run for a run folder, however often it goes on: ``wandb.json`` keeps its id and how far it was told.

    wandb cannot take back what it was told, so steps that a run makes again are not told again: they are the same
    numbers. Steps are noted before they are sent, so that a kill in between loses one step and never doubles it.
    """

    def __init__(self, folder: Path, title: str, recipe: Mapping[str, Any]) -> None:
        import wandb

        self._path = folder / "wandb.json"
        known: dict[str, Any] = {"id": secrets.token_hex(8), "told": {}}
        if self._path.is_file():
            known = json.loads(self._path.read_bytes())
        self._id: str = known["id"]
        self._told: dict[str, int] = known["told"]
        self._save()
        try:
            self._run: Any = wandb.init(
                project="gppo", name=title, id=self._id, resume="allow", dir=str(folder), config=dict(recipe)
            )
        except wandb.errors.Error as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise UserError(
                f"wandb does not begin ({reason}); log in with `wandb login`, set WANDB_MODE=offline, or take wandb "
                "out of the recipe's trackers"
            ) from error
        for kind in ("sft", "rl"):
            self._run.define_metric(f"{kind}/step")
            self._run.define_metric(f"{kind}/*", step_metric=f"{kind}/step")

    def rewind(self, lines: Sequence[Line]) -> None:
        """Tell what was not told yet."""
        for line in lines:
            self.log(line)

    def log(self, line: Line) -> None:
        """Tell one line, unless its step was told before."""
        numbers = curve_points(line)
        if numbers and line["step"] > self._told.get(line["kind"], 0):
            self._told[line["kind"]] = line["step"]
            self._save()
            self._run.log({**numbers, f"{line['kind']}/step": line["step"]})

    def _save(self) -> None:
        with atomic_file(self._path) as file:
            file.write(json_line({"id": self._id, "told": self._told}))


def curve_points(line: Line) -> dict[str, float]:
    """``{"rl/reward_mean": 0.5}``: the finite numbers of a line that has a step."""
    if not isinstance(line.get("step"), int):
        return {}
    return {
        f"{line['kind']}/{key}": float(value)
        for key, value in line.items()
        if key not in ("kind", "time", "step")
        and isinstance(value, Real)
        and not isinstance(value, bool)
        and isfinite(value)
    }
