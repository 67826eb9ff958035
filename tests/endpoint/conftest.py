from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from endpoint_server import Endpoint
from endpoint_world import taught

from gppo.policy import Policy


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """A model that knows some sums and writes them in form."""
    torch.set_num_threads(1)
    return taught(tmp_path_factory.mktemp("taught"))


@pytest.fixture
def endpoint(policy: Policy) -> Iterator[Endpoint]:
    with Endpoint(policy) as endpoint:
        yield endpoint


@pytest.fixture
def data(tmp_path: Path) -> Path:
    from endpoint_world import PROBLEMS

    from gppo.records import write_problems

    path = tmp_path / "problems.jsonl"
    write_problems(path, PROBLEMS)
    return path
