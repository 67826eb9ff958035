import shutil
import sys
from collections.abc import Iterator

import pytest

from gppo.sandbox import Probe, Sandbox, probe


@pytest.fixture(scope="session")
def probes() -> dict[str, Probe]:
    """What each level finds on this machine."""
    return {level: probe(level) for level in ("bubblewrap", "landlock")}


@pytest.fixture(params=["bubblewrap", "landlock"])
def level(request: pytest.FixtureRequest, probes: dict[str, Probe]) -> str:
    """Each isolation level that can be had here."""
    if sys.platform != "linux":
        pytest.skip("programs are judged on Linux only")
    if request.param == "bubblewrap" and not shutil.which("bwrap"):
        pytest.skip("bubblewrap is not installed: apt-get install bubblewrap")
    found = probes[request.param]
    if found.level == "refused":
        pytest.skip(f"{request.param} does not hold here: {found.reason}")
    return request.param


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[dict[str, Sandbox]]:
    """One sandbox of each level for a module of tests that only run programs."""
    started: dict[str, Sandbox] = {}
    yield started
    for one in started.values():
        one.close()


@pytest.fixture
def sandbox(level: str, sandboxes: dict[str, Sandbox]) -> Sandbox:
    if level not in sandboxes:
        sandboxes[level] = Sandbox(level=level)
    return sandboxes[level]
