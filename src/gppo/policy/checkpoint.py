"""Checkpoints: a folder is there in full or not at all."""

import json
import os
import shutil
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError

from gppo.policy.load import first_line, load_weights
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
        whole = [p for p in self.folder.glob("step-*") if (p / "state.json").is_file()]
        return sorted(whole, key=lambda p: (len(p.name), p.name))  # as numbers, past the sixth digit too

    def latest(self) -> Path | None:
        """The newest complete checkpoint."""
        return next(iter(reversed(self.all())), None)

    def save(self, step: int, policy: Policy, optimizer: Optimizer, state: dict[str, Any]) -> Path:
        """Write aside, flush to disk, rename; then remove what is older than the newest ``keep``.

        Raises:
            GppoError: the disk is full or cannot be written; the checkpoints before are as they were.
        """
        final = self.folder / f"step-{step:06d}"
        aside = self.folder / f".writing-{step:06d}"
        for left in (*self.folder.glob(".writing-*"), *self.folder.glob(".removing-*")):
            shutil.rmtree(left, ignore_errors=True)  # of a run that was killed
        try:
            aside.mkdir(parents=True)
            policy.save(aside)
            torch.save(optimizer.state_dict(), aside / "optimizer.pt")
            (aside / "state.json").write_text(json.dumps({"step": step, **state}, indent=1))
            for path in sorted(aside.iterdir()):
                _fsync(path)
            _fsync(aside)
            if final.exists():
                self._remove(final)
            aside.rename(final)
            _fsync(self.folder)
        except (OSError, RuntimeError, SafetensorError) as error:  # a full disk, as each of the writers reports it
            shutil.rmtree(aside, ignore_errors=True)
            before = self.latest()
            raise GppoError(
                f"{final}: the checkpoint could not be written ({first_line(error)}); "
                f"{f'{before.name} is whole' if before else 'there is none before it'}: "
                "free some space and run the same command again"
            ) from error
        for old in self.all()[: -self.keep]:
            self._remove(old)
        return final

    def _remove(self, path: Path) -> None:
        """Out of sight first: a removal that is cut short must not look like a checkpoint."""
        aside = path.rename(self.folder / f".removing-{path.name}")
        shutil.rmtree(aside, ignore_errors=True)

    @staticmethod
    def load(path: Path, policy: Policy, optimizer: Optimizer) -> dict[str, Any]:
        """Put weights and optimizer back and return the loop's state.

        Raises:
            UserError: the checkpoint belongs to another architecture, or is damaged; the model is as it was.
        """
        weights = _weights_for(policy, path)
        try:
            # weights_only: a checkpoint may come from someone else, and must not run code
            moments = torch.load(path / "optimizer.pt", weights_only=True, map_location=policy.device)
            optimizer.load_state_dict(moments)
        except (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, UnpicklingError) as error:
            raise UserError(
                f"{path / 'optimizer.pt'} is damaged or not of this run ({first_line(error)}); "
                "remove this checkpoint's folder to continue from the one before, or start anew with --fresh"
            ) from error
        policy.model.load_state_dict(weights)
        return json.loads((path / "state.json").read_text())


def load_model(path: Path, policy: Policy) -> dict[str, Any]:
    """Put a checkpoint's weights into the policy, without its optimizer, and return the state saved with them.

    Raises:
        UserError: the checkpoint belongs to another architecture, or is damaged; the model is as it was.
    """
    policy.model.load_state_dict(_weights_for(policy, path))
    return json.loads((path / "state.json").read_text())


def _weights_for(policy: Policy, path: Path) -> dict[str, torch.Tensor]:
    # Through transformers: it knows files in several parts, tied weights, and names that differ on disk (experts).
    dtype = next(policy.model.parameters()).dtype
    weights = load_weights(str(path), dtype).state_dict()
    own = policy.model.state_dict()
    if {k: v.shape for k, v in weights.items()} != {k: v.shape for k, v in own.items()}:
        raise UserError(
            f"{path}: the checkpoint's weights do not fit the model of the recipe; "
            "use the recipe that made it, or start anew with --fresh"
        )
    return weights


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
