"""Checkpoints: a folder is there in full or not at all, is written while training goes on, and is checked when read."""

import json
import logging
import math
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from safetensors import SafetensorError
from torch import Tensor

from gppo.policy._manifest import MANIFEST, fsync, why_damaged, write_manifest
from gppo.policy._restore import load_all, refuse_damaged
from gppo.policy._snapshot import OPTIMIZER, Buffers, split, write_tensors
from gppo.policy.load import first_line
from gppo.policy.model import Policy
from gppo.policy.optimizer import Optimizer
from gppo.policy.world import ALONE, World, raised_on_all
from gppo.types import GppoError
from gppo.types.files import atomic_file, json_line

logger = logging.getLogger(__name__)
_SCORE = "score.json"  # not in the manifest: it is known only later


class Checkpoints:
    """The checkpoints of one run: ``step-000060/`` with model, optimizer, the loop's own state and a manifest.

    Leaving it as a context manager waits for what is still being written. Where several ranks share the model, rank 0
    gathers, writes and reads whole tensors, so that they are the same for any number of ranks.

    Args:
        folder: where they are kept.
        keep: how many of the newest stay.
        keep_best: how many more stay: those with the highest score.
        world: the ranks. All of them call ``save``, ``start``, ``restore`` and ``score``.
    """

    def __init__(self, folder: Path, keep: int = 2, keep_best: int = 0, world: World = ALONE) -> None:
        self.folder = folder
        self.keep = keep
        self.keep_best = keep_best
        self.world = world
        self._buffers = Buffers()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[Path] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.wait()
        except GppoError as failure:
            if error is None:
                raise
            logger.warning("%s", failure)  # what ended the run is said as the error
        else:
            if error is None or (isinstance(error, Exception) and raised_on_all(error)):
                self.world.barrier()  # the first to end has torchrun end the others, and rank 0 was writing
        finally:
            self._thread.shutdown()

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        whole = [p for p in self.folder.glob("step-*") if (p / MANIFEST).is_file()]
        return sorted(whole, key=lambda p: (len(p.name), p.name))  # as numbers, past the sixth digit too

    def latest(self) -> Path | None:
        """The newest complete checkpoint; nobody has looked whether it is damaged."""
        return next(iter(reversed(self.all())), None)

    def newest_good(self) -> Path | None:
        """The newest checkpoint that is not damaged. Reads it in full; each damaged one is named in a warning.

        Raises:
            GppoError: there are checkpoints and all are damaged.
        """
        reason = ""
        for path in reversed(self.all()):
            found = why_damaged(path)
            if found is None:
                return path
            reason = reason or f"{path.name}: {found}"
            logger.warning("the checkpoint %s is damaged (%s); looking at the one before", path, found)
        if reason:
            raise GppoError(
                f"{self.folder}: every checkpoint is damaged ({reason}); put one back from a copy, or start anew with "
                "--fresh"
            )
        return None

    def save(self, step: int, policy: Policy, optimizer: Optimizer, state: dict[str, Any]) -> Path:
        """Write a checkpoint and wait until it is on disk; errors as from ``start``."""
        self.start(step, policy, optimizer, state)
        return self.wait()

    def start(
        self,
        step: int,
        policy: Policy,
        optimizer: Optimizer,
        state: dict[str, Any],
        flush: Sequence[Path] = (),
    ) -> None:
        """Copy weights and optimizer to main memory, then write in the background: aside, flushed, renamed, after
        which what is no longer kept is removed. Waits for the checkpoint before this one.

        Args:
            step: steps that are done.
            policy: its weights.
            optimizer: its moments and counters.
            state: what the loop needs to go on, JSON.
            flush: files that must be on disk before this checkpoint counts.

        Raises:
            GppoError: the checkpoint before could not be written (a full disk); those before it are as they were.
                ``check`` and ``wait`` say the same of this one.
        """
        if self._writing is not None:
            self.wait()
        plan, moments = split(optimizer.state_dict())
        weights = policy.trained()
        copies = self._buffers.copy(
            {f"model.{name}": tensor for name, tensor in weights.items()}
            | {f"optimizer.{name}": tensor for name, tensor in moments.items()},
            keep=self.world.leads,
        )
        if not self.world.leads:
            return
        self._writing = self._thread.submit(
            self._write,
            step,
            policy,
            {name: copies[f"model.{name}"] for name in weights},
            {name: copies[f"optimizer.{name}"] for name in moments},
            json.dumps(plan),
            json.dumps({"step": step, **state}, indent=1),
            flush,
        )

    def check(self) -> None:
        """Raise what went wrong in the background, where something did; never waits."""
        if self._writing is not None and self._writing.done() and self._writing.exception() is not None:
            self.wait()

    def settled(self) -> Path | None:
        """The newest checkpoint once what is under way has ended, well or not; raises nothing of it."""
        if self._writing is not None:
            self._writing.exception()
        return self.latest()

    def wait(self) -> Path:
        """Wait until the checkpoint under way is on disk; the newest one. Raises what went wrong."""
        writing, self._writing = self._writing, None
        newest = self.latest() if writing is None else writing.result()
        return newest or self.folder

    def score(self, step: int, value: float) -> None:
        """Note how good a checkpoint is, for ``keep_best``; nothing where that step has none, or the score is none."""
        self.wait()
        path = self._path(step)
        if self.world.leads and path.is_dir() and math.isfinite(value):
            with atomic_file(path / _SCORE) as file:
                file.write(json_line({"score": value}))

    def restore(self, policy: Policy, optimizer: Optimizer) -> dict[str, Any] | None:
        """Go on from the newest checkpoint that is not damaged: its state, or None where there is no checkpoint.

        Damaged ones are set aside as ``damaged-step-...``, so that they neither count nor get lost.

        Raises:
            GppoError: all are damaged.
            UserError: it belongs to another architecture; the model is as it was.
        """
        path = self.world.lead(self.newest_good)
        if path is None:
            return None
        state = load_all(path, policy, optimizer, self.world)
        for damaged in self.all() if self.world.leads else ():
            if int(damaged.name.removeprefix("step-")) > int(path.name.removeprefix("step-")):
                aside = self.folder / f"damaged-{damaged.name}"
                shutil.rmtree(aside, ignore_errors=True)
                damaged.rename(aside)
        return state

    @staticmethod
    def load(path: Path, policy: Policy, optimizer: Optimizer) -> dict[str, Any]:
        """Put weights and optimizer back and return the loop's state.

        Raises:
            UserError: the checkpoint belongs to another architecture, or is damaged; the model is as it was.
        """
        refuse_damaged(path)
        return load_all(path, policy, optimizer)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}"

    def _write(
        self,
        step: int,
        policy: Policy,
        weights: dict[str, Tensor],
        moments: dict[str, Tensor],
        plan: str,
        state: str,
        flush: Sequence[Path],
    ) -> Path:
        final = self._path(step)
        aside = self.folder / f".writing-{step:06d}"
        for left in (*self.folder.glob(".writing-*"), *self.folder.glob(".removing-*")):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        try:
            aside.mkdir(parents=True)
            policy.save(aside, weights)
            write_tensors(aside / OPTIMIZER, plan, moments)
            (aside / "state.json").write_text(state)
            write_manifest(aside)
            for path in flush:
                fsync(path)
            if final.exists():
                self._remove(final)
            aside.rename(final)
            fsync(self.folder)
            self._clear()
        except (OSError, RuntimeError, SafetensorError) as error:  # a full disk, as each of the writers reports it
            shutil.rmtree(aside, ignore_errors=True)
            before = self.latest()
            raise GppoError(
                f"{final}: the checkpoint could not be written ({first_line(error)}); "
                f"{f'{before.name} is whole' if before else 'there is none before it'}: "
                "free some space and run the same command again"
            ) from error
        return final

    def _clear(self) -> None:
        """Remove what is neither among the newest nor among the best."""
        everything = self.all()
        scored = [(score, path.name, path) for path in everything if (score := _score(path)) is not None]
        best = {path for _, _, path in sorted(scored)[len(scored) - self.keep_best :]} if self.keep_best else set()
        for old in everything[: -self.keep]:
            if old not in best:
                self._remove(old)

    def _remove(self, path: Path) -> None:
        """Out of sight first: a removal that is cut short must not look like a checkpoint."""
        aside = path.rename(self.folder / f".removing-{path.name}")
        shutil.rmtree(aside, ignore_errors=True)


def _score(path: Path) -> float | None:
    try:
        return float(json.loads((path / _SCORE).read_bytes())["score"])
    except FileNotFoundError:
        return None
