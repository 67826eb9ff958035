import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from endpoint_server import Endpoint
from endpoint_world import PROBLEMS, taught

from gppo.policy import Policy
from gppo.records import write_problems

sys.path.append(str(Path(__file__).parents[1] / "chaos"))
from chaos_kills import ForkServer


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A model that knows some sums and writes them in form."""
    torch.set_num_threads(1)
    return taught(tmp_path_factory.mktemp("taught"))


@pytest.fixture
def endpoint(policy: Policy) -> Iterator[Endpoint]:
    with Endpoint(policy) as endpoint:
        yield endpoint


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
