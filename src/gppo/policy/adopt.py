"""A model that another trainer wrote becomes a checkpoint of the run."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gppo.policy._manifest import fsync, write_manifest
from gppo.types.files import full_disk_as_error


def adopt_model(source: Path, checkpoints: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Copy a Hugging Face folder to ``checkpoints/step-<step>``, with a manifest: in full or not at all.

    It has no optimizer, so it can be scored, exported and started from, and not gone on with.

    Args:
        source: config.json, safetensors, tokenizer.
        checkpoints: the run's checkpoints of one kind.
        step: the step it is of.
        state: goes into its state.json.

    Raises:
        GppoError: the disk is full.
    """
    final, aside = checkpoints / f"step-{step:06d}", checkpoints / f".writing-{step:06d}"
    with full_disk_as_error(final):
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(source, aside)
        (aside / "state.json").write_text(json.dumps({"step": step, **state}, indent=1))
        write_manifest(aside)
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        fsync(checkpoints)
    return final
