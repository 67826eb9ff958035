"""Checkpoints: a folder is there in full or not at all."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from gppo.policy.model import Policy
from gppo.policy.optimizer import Optimizer
from gppo.types import GppoError, UserError


class Checkpoints:
    """The checkpoints of one run: ``step-000060/`` with model, optimizer and the loop's own state.

    Args:
        folder: where they are kept.
        keep: how many stay.
    """

    def __init__(self, folder: Path, keep: int = 2) -> None:
        self.folder = folder
        self.keep = keep

    def all(self) -> list[Path]:
        """Complete checkpoints, oldest first."""
        return sorted(p for p in self.folder.glob("step-*") if (p / "state.json").is_file())

    def latest(self) -> Path | None:
        """The newest complete checkpoint."""
        return next(iter(reversed(self.all())), None)

    def save(self, step: int, policy: Policy, optimizer: Optimizer, state: dict[str, Any]) -> Path:
        """Write aside, flush to disk, rename; then remove what is older than the newest ``keep``."""
        final = self.folder / f"step-{step:06d}"
        aside = self.folder / f".writing-{step:06d}"
        shutil.rmtree(aside, ignore_errors=True)
        try:
            aside.mkdir(parents=True)
            policy.save(aside)
            torch.save(optimizer.state_dict(), aside / "optimizer.pt")
            (aside / "state.json").write_text(json.dumps({"step": step, **state}, indent=1))
            for path in sorted(aside.iterdir()):
                _fsync(path)
            _fsync(aside)
            shutil.rmtree(final, ignore_errors=True)
            aside.rename(final)
            _fsync(self.folder)
        except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
            shutil.rmtree(aside, ignore_errors=True)
            before = self.latest()
            raise GppoError(
                f"{final}: the checkpoint could not be written ({error}); "
                f"{f'{before.name} is whole' if before else 'there is none before it'}: "
                "free some space and run the same command again"
            ) from error
        for old in self.all()[: -self.keep]:
            shutil.rmtree(old)
        return final

    @staticmethod
    def load(path: Path, policy: Policy, optimizer: Optimizer) -> dict[str, Any]:
        """Put weights and optimizer back and return the loop's state.

        Raises:
            UserError: the checkpoint belongs to another architecture.
        """
        from safetensors.torch import load_model

        weights = path / "model.safetensors"
        try:
            load_model(policy.model, weights)
        except RuntimeError as error:
            raise UserError(
                f"{path}: the checkpoint's weights do not fit the model of the recipe; "
                "use the recipe that made it, or start anew with --fresh"
            ) from error
        # weights_only: a checkpoint may come from someone else, and must not run code
        optimizer.load_state_dict(torch.load(path / "optimizer.pt", weights_only=True, map_location=policy.device))
        return json.loads((path / "state.json").read_text())


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
