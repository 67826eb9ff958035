import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gppo.sandbox import Limits, Sandbox
from gppo.types import GppoError
from gppo.verify.code import CodeJudge


@pytest.fixture(scope="session")
def isolation() -> None:
    """Skips where this machine cannot isolate programs, with the sandbox's own reason."""
    try:
        with Sandbox(1):
            pass
    except GppoError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def judge(isolation: None) -> Iterator[CodeJudge]:
    with CodeJudge(workers=2, limits=Limits(seconds=2.0), tests_per_problem=None) as judge:
        yield judge


@pytest.fixture(scope="session")
def lcb_judge(isolation: None) -> Iterator[CodeJudge]:
    with CodeJudge(workers=1, mode="lcb", limits=Limits(seconds=2.0), tests_per_problem=None) as judge:
        yield judge


@pytest.fixture(scope="session")
def data() -> Path:
    """Public data sets, which are not part of the repository."""
    folder = Path(os.environ.get("GPPO_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; set GPPO_DATA")
    return folder
