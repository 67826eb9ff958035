"""A run is a folder: what it was told, where it ran, what it measured, what it made."""

import itertools
import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from gppo.run.changes import differing_keys, rounding_changes, unsafe_changes
from gppo.run.environment import describe_environment
from gppo.run.lock import lock_folder
from gppo.run.metrics import append_metrics, read_metrics, truncate_metrics
from gppo.run.trackers import Tracker
from gppo.types import GppoError, UserError
from gppo.types.files import atomic_file, full_disk_as_error, json_line

logger = logging.getLogger(__name__)
_REPORT_SECONDS = 600.0  # nobody writes a page for so long


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run on disk. Make it with ``create`` or find it with ``open``.

    Args:
        path: the folder that holds everything.
        trackers: who else is told the metrics.
        looks_on: another process writes; this one has its files to read, and what it logs is left out.
    """

    path: Path
    trackers: tuple[Tracker, ...] = ()
    looks_on: bool = False

    @classmethod
    def create(cls, path: str | Path, recipe_yaml: str, *, fresh: bool = False) -> "RunFolder":
        """Start a run, or go on with the one that is there where its recipe makes the same run (``unsafe_changes``) or
        nothing was made yet. The folder is this process's until it ends.

        ``environment.json`` describes the first start; later ones are added to its list ``continued``.

        Args:
            path: the run folder; made where it does not exist.
            recipe_yaml: the recipe as resolved.
            fresh: start anew. The old folder is moved aside to ``<path>.old-<n>``; nothing is deleted.

        Raises:
            UserError: the folder holds a run with another recipe, or something that is no run, or another process works
                in it.
            GppoError: the disk is full.
        """
        run = cls(Path(path))
        run._refuse_what_is_no_run()
        run._lock()
        if fresh and run.recipe.exists():
            run._move_aside()
            run._lock()
        changed = run._take_recipe(recipe_yaml) if run.recipe.exists() else []
        if changed or not run.recipe.exists():
            with atomic_file(run.recipe) as file:
                file.write(recipe_yaml.encode())
        with full_disk_as_error(run.path):
            for folder in (run.rollouts, run.checkpoints, run.evaluations):
                folder.mkdir(exist_ok=True)
        run._clear_away()
        run._note_environment(changed)
        return run

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """A run that exists. A UserError where there is none."""
        run = cls(Path(path))
        if not run.recipe.is_file():
            raise UserError(f"{path}: not a run folder (it has no recipe.yaml); name the folder of a run")
        return run

    @property
    def recipe(self) -> Path:
        """The recipe as resolved, YAML."""
        return self.path / "recipe.yaml"

    @property
    def environment(self) -> Path:
        """What it ran on, JSON."""
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        """What was measured, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def rollouts(self) -> Path:
        """Saved rollouts, one Parquet file a step."""
        return self.path / "rollouts"

    @property
    def checkpoints(self) -> Path:
        """Saved models with what is needed to go on from them."""
        return self.path / "checkpoints"

    @property
    def evaluations(self) -> Path:
        """Scores, and the responses behind them."""
        return self.path / "evaluations"

    @property
    def report(self) -> Path:
        """The page to look at."""
        return self.path / "report.html"

    @property
    def microscope(self) -> Path:
        """The page on which responses are read token by token."""
        return self.path / "microscope.html"

    def tracked(self, trackers: tuple[Tracker, ...]) -> "RunFolder":
        """The same run, whose metrics go to the trackers too, those that are there to begin with."""
        run = replace(self, trackers=trackers)
        run._rewind()
        return run

    def log(self, kind: str, **values: Any) -> None:
        """Append one line to the metrics, and tell the trackers; see ``append_metrics``."""
        if self.looks_on:
            return
        append_metrics(self.metrics, kind, values)
        for tracker in self.trackers:
            tracker.log({"kind": kind, **values})

    def read_metrics(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The metrics of one kind, or all; see ``gppo.run.metrics.read_metrics``."""
        return read_metrics(self.metrics, kind)

    def truncate_metrics(self, keep: Callable[[dict[str, Any]], bool]) -> int:
        """Keep only some lines of the metrics; see ``gppo.run.metrics.truncate_metrics``."""
        if self.looks_on:
            return 0
        gone = truncate_metrics(self.metrics, keep)
        if gone:
            self._rewind()
        return gone

    def _rewind(self) -> None:
        lines = self.read_metrics() if self.trackers else []
        for tracker in self.trackers:
            tracker.rewind(lines)

    def _refuse_what_is_no_run(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path}: a file, not a folder; choose another run_dir")
        if self.path.is_dir() and not self.recipe.exists():
            # Names with a dot first may be our own temporary files, left by a crash.
            found = sorted(item.name for item in self.path.iterdir() if not item.name.startswith("."))
            if found:
                raise UserError(
                    f"{self.path}: holds {found[0]} and no recipe.yaml, so it is no run; choose another run_dir"
                )

    def _move_aside(self) -> None:
        path = Path(os.path.abspath(self.path))  # run_dir may be "."; a link to a folder is moved as a link
        try:
            path.rename(free_name(path))
        except OSError as error:
            raise UserError(
                f"{self.path}: the old run cannot be moved aside ({error.strerror}); choose another run_dir"
            ) from error

    def _lock(self) -> None:
        with full_disk_as_error(self.path):
            try:
                lock_folder(self.path)
            except (PermissionError, FileExistsError, NotADirectoryError) as error:
                raise UserError(f"{self.path}: cannot be written ({error.strerror}); choose another run_dir") from error

    def _take_recipe(self, recipe_yaml: str) -> list[str]:
        """The keys that are different from the recipe of the run that is there; a UserError where they may not be."""
        try:
            there = yaml.safe_load(self.recipe.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise GppoError(f"{self.recipe}: damaged; mend it, or start anew with --fresh") from error
        new = yaml.safe_load(recipe_yaml)
        keys = unsafe_changes(there, new, self._begun)
        if keys and self._has_results():  # before that a mended recipe is taken, after a mistake that was found early
            shown = ", ".join(keys[:10]) + (f" and {len(keys) - 10} more" if len(keys) > 10 else "")
            raise UserError(
                f"{self.path}: holds a run with another recipe (different: {shown}); choose another run_dir, or start "
                "anew with --fresh, which moves the old run aside"
            )
        changed = list(differing_keys(there, new))
        if (rounding := rounding_changes(changed)) and self._has_results():
            logger.warning(
                "%s changed: from here on numbers may differ from the uninterrupted run's in the last digits",
                ", ".join(rounding),
            )
        return changed

    def _begun(self, section: str) -> bool:
        folder = self.checkpoints / section
        return bool(self.read_metrics(section)) or (folder.is_dir() and any(folder.iterdir()))

    def _clear_away(self) -> None:
        """Remove what a killed process was writing. Only a page may be someone else's, who is writing it now."""
        for folder in (self.path, self.rollouts, self.evaluations):
            for left in folder.glob(".*.tmp"):
                ours = not left.name.startswith((f".{self.report.name}", f".{self.microscope.name}"))
                if ours or time.time() - left.stat().st_mtime > _REPORT_SECONDS:
                    left.unlink(missing_ok=True)

    def _has_results(self) -> bool:
        made = (self.rollouts, self.checkpoints, self.evaluations)
        return self.metrics.exists() or any(folder.is_dir() and any(folder.iterdir()) for folder in made)

    def _note_environment(self, changed: Sequence[str]) -> None:
        now = describe_environment() | ({"changed": list(changed)} if changed else {})
        try:
            first = json.loads(self.environment.read_bytes())
            first["continued"].append(now)
        except FileNotFoundError:
            first = {**now, "continued": []}
        except (ValueError, KeyError, TypeError) as error:
            raise GppoError(f"{self.environment}: damaged; remove it and run the same command again") from error
        with atomic_file(self.environment) as file:
            file.write(json_line(first))


def free_name(path: Path) -> Path:
    """Where an older folder is moved aside to: the first ``<path>.old-<n>`` that is not taken."""
    names = (path.with_name(f"{path.name}.old-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())
