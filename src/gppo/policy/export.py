"""A run's model as one folder that every other tool loads."""

import shutil
from pathlib import Path

from gppo.policy._restore import load_model
from gppo.policy.checkpoint import Checkpoints
from gppo.policy.lora import has_adapters, merge_adapters
from gppo.policy.model import Policy
from gppo.types import UserError
from gppo.types.files import full_disk_as_error


def newest_checkpoint(checkpoints: Path) -> Path:
    """The newest checkpoint below a run's ``checkpoints`` that is not damaged, RL before SFT. A UserError without."""
    for stage in ("rl", "sft"):
        if found := Checkpoints(checkpoints / stage).newest_good():
            return found
    raise UserError(f"{checkpoints}: there is no checkpoint yet; run gppo sft or gppo rl first")


def export_model(checkpoint: Path, policy: Policy, folder: Path) -> None:
    """Write a checkpoint as a whole model in the Hugging Face layout; the folder appears when it is complete.

    Adapters are merged into the policy's weights, so it has none afterwards.

    Args:
        checkpoint: of the policy's architecture.
        policy: as the recipe loads it.
        folder: where to; must not exist.

    Raises:
        UserError: the folder exists, or the checkpoint is damaged or another model's.
        GppoError: the disk is full.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already; name a folder that does not")
    load_model(checkpoint, policy)
    if has_adapters(policy.model):
        merge_adapters(policy.model)
    aside = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    with full_disk_as_error(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        policy.save(aside)
        aside.rename(folder)
