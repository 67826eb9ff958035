"""Fixtures that the tests of other servers take too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_kills import ForkServer
from endpoint_world import PROBLEMS

from gppo.records import write_problems


@pytest.fixture(scope="session")
def commands() -> Iterator[ForkServer]:
    """Starts ``gppo`` in processes of its own."""
    with ForkServer() as server:
        yield server


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    write_problems(path, PROBLEMS)
    return path
