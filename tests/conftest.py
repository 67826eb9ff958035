import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says how busy the machine is, and nothing about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# Tiny models are slower on several threads; it must be set before torch is loaded, here and in what tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture
def full_disk() -> Iterator[Path]:
    """A file system of 64 KiB, where the system lets one be mounted."""
    # Not in tmp_path: pytest renames old ones when it cleans up, and a mounted folder cannot be removed.
    folder = Path(tempfile.mkdtemp())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)  # -l: a run folder stays locked, so open, in this process
    folder.rmdir()
