"""What the runs of verl share. Nothing of verl is imported here: the other environments read this file too."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from verl_world import actors_of_ray, make_world, processes_of_ray, wait_for


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    return make_world(tmp_path_factory.mktemp("verl"))


@pytest.fixture(scope="session")
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its files: no other Ray of this machine is met, and none of ours stays."""
    folder = Path(tempfile.mkdtemp(prefix="gppo-ray-", dir="/tmp"))  # the paths of Ray's sockets must be short
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("RAY_worker_niceness", "0")  # its 15 lets a busy machine starve them
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def nothing_is_left(ray_folder, request) -> Iterator[None]:
    """A run ends with all that it started, however it ended; on somebody's cluster with its actors."""
    yield
    left = actors_of_ray if "cluster" in request.fixturenames else processes_of_ray
    assert wait_for(lambda: not left(ray_folder), 60), left(ray_folder)
