"""What broke a run of verl is told by the process that it broke, not guessed from a log that many processes write."""

from pathlib import Path

import pytest

from gppo.bridges.verl.engine import _reason
from gppo.bridges.verl.guard import told_reason
from gppo.bridges.verl.jobs import Job
from gppo.types import GppoError

NOISE = "(pid=455) site-packages/torch/cuda: FutureWarning: ImportError will be raised"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    found = Job(
        kind="rl",
        stage="math",
        module="none",
        options=(),
        source=tmp_path,
        data=tmp_path,
        folder=tmp_path,
        first=0,
        steps=1,
    )
    found.log.write_text(f"gppo.types.GppoError: from the log\nINFO Error\nall is well\n{NOISE}\n")
    return found


class RayTaskError(Exception):
    """As Ray's own: what was raised in another process, in a wrapper whose text is a traceback."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("Traceback ...")
        self.cause = cause


def test_what_broke_it_is_told_whatever_the_log_ends_with(job):
    with pytest.raises(RayTaskError), told_reason(job.reason):
        raise RayTaskError(RayTaskError(GppoError("step 1: 50 % of the responses\nwere lost")))
    assert _reason(job) == "GppoError: step 1: 50 % of the responses were lost"


def test_an_error_of_the_process_itself_is_told_too(job):
    with pytest.raises(ValueError, match="no such option"), told_reason(job.reason):
        raise ValueError("no such option")
    assert _reason(job) == "ValueError: no such option"


def test_what_cannot_be_written_does_not_hide_what_broke_it(tmp_path):
    with pytest.raises(ValueError, match="no such option"), told_reason(tmp_path / "gone" / "reason.txt"):
        raise ValueError("no such option")


def test_nothing_is_told_of_what_ends_well(job):
    with told_reason(job.reason):
        pass
    assert not job.reason.exists()


def test_a_process_that_could_say_nothing_is_known_by_its_log(job):
    assert _reason(job) == NOISE
    job.log.write_text("killed\n")
    assert _reason(job) == "no error in its log"
