"""Whatever of the sandbox is killed in the middle of a test, no test is lost, and nothing is left."""

import contextlib
import os
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest
from run_hostile import survivors

from gppo.sandbox import Limits, Sandbox, Script

SLOW = Script("import time\nn = input()\ntime.sleep(0.2)\nprint(n)", tuple(b"%d\n" % n for n in range(4)))


#: Processes of sandboxes that other tests of this process keep.
_OTHERS: set[str] = set()


@pytest.fixture(autouse=True)
def _others_are_known():
    _OTHERS.clear()
    _OTHERS.update(survivors())


def here() -> list[str]:
    """The living processes of this test's sandboxes."""
    return [pid for pid in survivors() if pid not in _OTHERS]


def generations() -> list[psutil.Process]:
    """The same, oldest first: each was forked by the one before it."""
    found = []
    for pid in sorted(map(int, here())):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended while we looked
            found.append(psutil.Process(pid))
    return found


@pytest.mark.parametrize("from_the_end", [1, 2, 3, 4])
def test_kill_9_in_the_middle_of_a_test_loses_nothing(level, from_the_end):
    with Sandbox(level=level) as sandbox:
        assert sandbox.run(Script("print(1)", (b"",)))[0].stdout == b"1\n"
        done = []
        thread = threading.Thread(target=lambda: done.extend(sandbox.run(SLOW)))
        thread.start()
        chain: list[psutil.Process] = []
        while len(chain) < 4:  # between two tests there are fewer
            chain = generations()
        with contextlib.suppress(psutil.NoSuchProcess):
            chain[-from_the_end].send_signal(signal.SIGKILL)  # the test, its keepers, the zygote
        thread.join()
        assert [(run.status, run.stdout) for run in done] == [("ok", b"%d\n" % n) for n in range(4)]
        assert sandbox.run(Script("print(2)", (b"",)))[0].stdout == b"2\n"
    _wait_for(lambda: here() == [])


def test_what_cannot_be_kept_alive_is_infra(level):
    with Sandbox(level=level) as sandbox:
        stop = threading.Event()

        def killer() -> None:
            while not stop.is_set():
                with contextlib.suppress(psutil.NoSuchProcess, IndexError):
                    generations()[-1].send_signal(signal.SIGKILL)
                time.sleep(0.05)

        thread = threading.Thread(target=killer)
        thread.start()
        runs = sandbox.run(Script("import time; time.sleep(2)", (b"", b"")))
        stop.set()
        thread.join()
        assert [run.status for run in runs] == ["infra", "infra"]
        assert sandbox.run(Script("print(1)", (b"",)))[0].status == "ok"


def test_the_trainer_dies_and_so_does_everything(level, tmp_path, monkeypatch):
    marker = tmp_path / "started"
    folder = Path(tempfile.mkdtemp())  # of its own: other tests' sandboxes come and go in the usual one
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    pid = os.fork()
    if pid == 0:
        try:
            with Sandbox(level=level) as sandbox:
                marker.write_text("x")
                sandbox.run(Script("while True: pass", (b"",)), Limits(seconds=60))
        finally:
            os._exit(0)
    _wait_for(lambda: marker.exists() and len(psutil.Process(pid).children(recursive=True)) >= 4)
    below = psutil.Process(pid).children(recursive=True)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert psutil.wait_procs(below, timeout=10)[1] == []
    shutil.rmtree(folder)  # nobody was left to remove what is in it


def test_resources_stay_flat(level):
    _stays_flat(level, programs=20)


@pytest.mark.slow
@pytest.mark.skipif("GPPO_SOAK" not in os.environ, reason="takes minutes: GPPO_SOAK=20000 runs that many tests")
def test_resources_stay_flat_over_a_long_time(level):
    _stays_flat(level, programs=int(os.environ["GPPO_SOAK"]) // 16)


def _stays_flat(level: str, programs: int) -> None:
    program = Script(
        "x = [0] * 10000\nopen('f', 'w').write('x')\nprint(input())", tuple(b"%d\n" % n for n in range(16))
    )
    with Sandbox(level=level) as sandbox:
        for _ in range(8):
            sandbox.run(program)
        before = _resources()
        for _ in range(programs):
            assert {run.status for run in sandbox.run(program)} == {"ok"}
        memory, descriptors, processes = _resources()
        assert memory <= before[0] + 8e6
        assert (descriptors, processes) == before[1:]


def _resources() -> tuple[float, int, int]:
    """Memory of this process and the zygotes in bytes, descriptors and processes, with the last program gone."""
    me = psutil.Process()
    zygotes = [*me.children(), *(grandchild for child in me.children() for grandchild in child.children())]
    _wait_for(lambda: len(generations()) <= 2)
    memory = 0.0
    descriptors = me.num_fds()
    for process in (me, *zygotes):
        try:
            memory += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    # By their mark: a process that another test left to end by itself may end meanwhile.
    return memory, descriptors, len(generations())


def _wait_for(condition, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
