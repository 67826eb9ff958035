"""The dashboard in the terminal."""

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import numpy as np
import pytest
from rich.console import Console
from synthetic_run import make_run, rl_line

from gppo.report.watch import frame, read_state, seconds_left, sparkline, watch
from gppo.run import RunFolder


def picture(path, width=80, height=24) -> list[str]:
    console = Console(width=width, height=height, record=True, file=io.StringIO(), force_terminal=False)
    watch(path, console, once=True)
    return console.export_text().splitlines()


def test_sparkline_by_hand():
    assert sparkline([0.0, 1.0, 2.0, 7.0], 10) == "▁▂▃█"
    assert sparkline([0.0, 2.0, 6.0, 8.0], 2) == "▁█"  # two values a column: 1 and 7
    assert sparkline([1.0, None, 1.0], 10) == "▁ ▁"
    assert sparkline([None, None], 10) == ""
    assert sparkline([], 10) == ""


def test_the_pace_is_that_of_the_last_steps():
    lines = [{"time": 100.0 * step, "step": step} for step in range(1, 5)]
    lines += [{"time": 400.0 + 2.0 * step, "step": 4 + step} for step in range(1, 20)]
    assert seconds_left(lines, 33) == pytest.approx(20.0)
    assert seconds_left(lines, None) is None
    assert seconds_left(lines[:1], 33) is None


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (50, 16)])
def test_a_frame_fits_the_screen_and_says_what_is_asked(tmp_path, width, height):
    run = make_run(tmp_path / "run", rl_steps=9, planned=12)
    lines = picture(run.path, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "RL 9 of 12" in text
    last = run.read_metrics("rl")[-1]
    assert f"{100 * last['clip_positive_high']:.3g} %" in text
    if height > 20:
        assert all(
            word in text for word in ("reward", "entropy", "gradient norm", "step seconds", "step 9, sums-00001")
        )


def test_before_it_begins_and_after_it_ended(tmp_path):
    assert "Not begun" in "\n".join(picture(tmp_path / "none"))
    run = make_run(tmp_path / "new", sft_steps=0, rl_steps=0, planned=3)
    assert "No step yet" in "\n".join(picture(run.path))
    done = make_run(tmp_path / "done", rl_steps=3)
    (done.path / ".lock").unlink()
    assert "RL 3 of 3 · sums · done" in "\n".join(picture(done.path))


def test_a_resumed_run_is_shown_as_far_as_it_is(tmp_path):
    run = make_run(tmp_path / "run", rl_steps=9, planned=12)
    run.truncate_metrics(lambda line: line["kind"] != "rl" or line["step"] <= 4)
    assert "RL 4 of 12" in "\n".join(picture(run.path))
    run.log("rl", **rl_line(5, 12, np.random.default_rng(0)) | {"reward_mean": 0.125})
    with run.metrics.open("a") as file:
        file.write('{"kind": "rl", "st')
    text = "\n".join(picture(run.path))
    assert "RL 5 of 12" in text
    assert "0.125" in text


def test_fine_tuning_has_its_own_rows(tmp_path):
    run = RunFolder.create(tmp_path / "run", "name: x\nsft: {steps: 4}\n")
    for step in (1, 2):
        run.log("sft", step=step, loss=3.0 / step, grad_norm=1.0, learning_rate=1e-3, seconds=0.5)
    text = "\n".join(picture(run.path))
    assert "SFT 2 of 4" in text
    assert re.search(r"loss +1.5 █▁", text)


def test_text_of_a_model_cannot_steer_the_terminal(tmp_path):
    state = read_state(make_run(tmp_path / "run").path)
    hostile = state.sample | {"response_text": "\x1b[2J\x1b]0;pwned\x07 [bold]x[/bold]", "problem_id": "\x1b[31m"}
    changed = type(state)(state.path, state.recipe, state.stage, state.lines, state.steps, hostile, state.process)
    console = Console(width=80, height=24, record=True, file=io.StringIO(), force_terminal=False)
    console.print(frame(changed, 80, 24))
    shown = console.export_text()
    assert "\x1b" not in shown
    assert "‹U+001B›[2J" in shown
    assert "[bold]x[/bold]" in shown


def test_it_grows_with_the_run_in_a_real_terminal_and_ends_on_ctrl_c(tmp_path):
    run = make_run(tmp_path / "run", sft_steps=1, rl_steps=4, planned=6)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-m", "gppo.cli.main", "watch", str(run.path), "--every", "0.2"]
    environment = os.environ | {"TERM": "xterm-256color", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    seen = ""

    def until(word: str) -> None:
        nonlocal seen
        end = time.monotonic() + 60
        while word not in seen:
            assert time.monotonic() < end, seen[-2000:]
            if select.select([master], [], [], 0.2)[0]:
                seen += os.read(master, 1 << 16).decode("utf-8", "replace")

    until("RL 4 of 6")
    run.log("rl", step=5, stage="sums", reward_mean=0.5)
    until("RL 5 of 6")
    process.send_signal(2)
    assert process.wait(timeout=30) == 0
    os.close(master)
    assert "Traceback" not in seen
