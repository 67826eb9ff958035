import io
import os
import pty
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gppo.run import Bar, progress
from gppo.run.progress import duration


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_estimate_by_hand() -> None:
    clock = Clock()
    bar = Bar("RL", 10, done=4, clock=clock)
    clock.now += 30
    bar.advance()
    assert bar.remaining() is None, "one report says nothing about the pace"
    clock.now += 10
    bar.advance()
    assert bar.remaining() == 4 * 20.0, "two in 40 s; those done before do not count"
    clock.now += 15
    assert bar.remaining() == 65.0, "it runs down between reports"
    clock.now += 1000
    assert bar.remaining() == 0.0


def test_the_estimate_forgets_a_slow_start() -> None:
    clock = Clock()
    bar = Bar("RL", 100, clock=clock)
    clock.now += 1000
    for _ in range(20):
        bar.advance()
        clock.now += 1
    clock.now -= 1
    assert bar.remaining() == 80.0


def test_nothing_is_estimated_without_a_total_or_advance() -> None:
    clock = Clock()
    bar = Bar("RL", None, clock=clock)
    for _ in range(3):
        clock.now += 1
        bar.advance()
    assert bar.remaining() is None
    still = Bar("RL", 5, clock=clock)
    still.advance(0)
    still.advance(0)
    assert still.remaining() is None


def test_the_plain_line() -> None:
    clock = Clock()
    bar = Bar("RL", 10, clock=clock)
    assert bar.line() == "RL: 0 of 10"
    for status in ("reward 0.1", None):
        clock.now += 50
        bar.advance(status=status)
    assert bar.line() == "RL: 2 of 10, 6m40s left, reward 0.1"
    bar.tell("saving")
    assert bar.line().endswith(", saving")
    assert Bar("files", None, done=3).line() == "files: 3"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (200, "3m20s"),
        (3599.6, "1h00m"),
        (7500, "2h05m"),
        (360000, "100h00m"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_without_a_terminal_the_first_and_the_last_report_are_printed() -> None:
    stream = io.StringIO()
    with progress("RL", 5, stream=stream, every=3600) as bar:
        for step in range(5):
            bar.advance(status=f"step {step}")
    first, last = stream.getvalue().splitlines()
    assert first == "RL: 1 of 5, step 0"
    assert re.fullmatch(r"RL: 5 of 5, 0s left, step 4", last)


def test_without_a_terminal_every_report_may_be_printed_once() -> None:
    stream = io.StringIO()
    with progress("RL", 2, stream=stream, every=0) as bar:
        bar.advance()
        bar.advance()
    assert stream.getvalue().splitlines() == ["RL: 1 of 2", "RL: 2 of 2, 0s left"]


def test_the_last_line_is_printed_when_something_fails() -> None:
    stream = io.StringIO()
    with pytest.raises(ZeroDivisionError), progress("RL", 5, stream=stream) as bar:
        bar.done = 3 // len(stream.getvalue())
    assert stream.getvalue() == "RL: 0 of 5\n"


def test_standard_error_is_where_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("RL", 1) as bar:
        bar.advance()
    captured = capsys.readouterr()
    assert captured.err == "RL: 1 of 1\n"
    assert captured.out == ""


def in_terminal(work: Callable[[io.TextIOWrapper], None]) -> str:
    """What a terminal gets to see of it."""
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as stream:
        work(stream)
        stream.flush()
        seen = b""
        os.set_blocking(controller, False)
        try:
            while chunk := os.read(controller, 65536):
                seen += chunk
        except BlockingIOError:
            pass
    os.close(controller)
    return seen.decode()


def test_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "160")

    def work(stream: io.TextIOWrapper) -> None:
        out = sys.stdout
        with progress("RL [math]", 4, done=1, stream=stream) as bar:
            assert sys.stdout is out, "standard output is not touched"
            bar.advance(status="reward [0.5]")
            bar.advance()
            bar.advance(status="saved")

    seen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", in_terminal(work))
    assert "RL [math]" in seen
    assert "4/4" in seen
    assert "0s left" in seen
    assert seen.rstrip().endswith("saved")


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")

    def work(stream: io.TextIOWrapper) -> None:
        with progress("RL", 1, stream=stream) as bar:
            bar.advance()

    assert in_terminal(work).splitlines() == ["RL: 1 of 1"]


def test_rich_is_imported_only_for_a_terminal(tmp_path: Path) -> None:
    import subprocess

    code = (
        "import sys; from gppo.run import progress\n"
        "with progress('x', 1) as bar: bar.advance()\n"
        "sys.exit('rich' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "x: 1 of 1\n")
