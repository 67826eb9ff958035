"""What a run ran on, gathered without importing any of it."""

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

PACKAGES = (
    "gppo",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "pyarrow",
    "pydantic",
    "math-verify",
    "peft",
    "vllm",
    "verl",
    "trl",
    "ray",
)


def describe_environment(packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Python, system, CPU count, versions of the packages that are installed, git commit, and the time.

    ``git_commit`` is that of the working directory, None where it is in no repository. ``started`` is UTC in ISO 8601.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "packages": {name: version for name in packages if (version := _version(name)) is not None},
        "git_commit": _git_commit(),
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    try:
        asked = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None
