import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_runs import ENVIRONMENT, Warm


@pytest.fixture(scope="session")
def server() -> Iterator[subprocess.Popen[str]]:
    script = Path(__file__).with_name("warm_command.py")
    with subprocess.Popen(
        [sys.executable, script], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:
        yield server


@pytest.fixture
def gppo(server: subprocess.Popen[str], tmp_path: Path) -> Warm:
    """gppo(arguments) runs the command in ``tmp_path``."""
    return Warm(server, tmp_path)


@pytest.fixture
def gsm8k() -> Path:
    """GSM8K's training file, where the data is."""
    data = Path(os.environ.get("GPPO_DATA") or Path(__file__).parents[3] / "shared" / "data")
    path = data / "gsm8k" / "train.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is not there; set GPPO_DATA to a folder with gsm8k/train.jsonl")
    return path
