import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from endpoint_server import Endpoint
from endpoint_world import taught

from gppo.policy import Policy
from gppo.rollout.openai import backoff

sys.path.append(str(Path(__file__).parents[1] / "chaos"))
from endpoint_fixtures import commands as commands
from endpoint_fixtures import data as data


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
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setattr(backoff, "FIRST", 0.001)
