import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path += [str(Path(__file__).parents[2] / room) for room in ("endpoint", "chaos")]
from endpoint_fixtures import commands as commands
from endpoint_fixtures import data as data
from endpoint_world import CONTEXT, taught
from vllm_server import SHAPE, VLLMServer

from gppo.policy import Policy


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """The interpreter of vLLM's environment. It lives beside the core's, whose libraries it does not want."""
    python = os.environ.get("GPPO_VLLM_PYTHON")
    if not python:
        pytest.skip("GPPO_VLLM_PYTHON names no interpreter that has vLLM; `make test-vllm` makes one")
    found = subprocess.run([python, "-c", "import vllm"], capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip(f"{python} cannot import vllm: {(found.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return Path(python)


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    torch.set_num_threads(1)
    return taught(tmp_path_factory.mktemp("taught"), shape=SHAPE)


@pytest.fixture(scope="session")
def model(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model as a folder: weights, fast tokenizer, chat template."""
    folder = tmp_path_factory.mktemp("model")
    policy.save(folder)
    return folder


@pytest.fixture(scope="session")
def vllm(vllm_python: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMServer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log.txt"
    with VLLMServer(vllm_python, model, port, log, CONTEXT) as server:
        yield server
