"""Control groups, where this machine lets us make them; which folder is chosen, on a tree of our own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gppo.sandbox import Limits, Sandbox, Script
from gppo.sandbox._cgroup import ControlGroup


@pytest.fixture
def group():
    if not Path("/proc/self/cgroup").exists():
        pytest.skip("no control groups on this system")
    group = ControlGroup()
    if set(group.folders) != {"memory", "pids"}:
        group.remove()
        pytest.skip("no control group for memory and processes can be made here")
    yield group
    group.remove()


def run_in(group: ControlGroup, code: str) -> subprocess.CompletedProcess[str]:
    enter = "".join(f"open({path!r}, 'w').write(str(os.getpid()))\n" for path in group.entrances)
    return subprocess.run([sys.executable, "-c", f"import os\n{enter}{code}"], capture_output=True, text=True)


def test_memory_beyond_the_limit_is_not_to_be_had(group):
    group.limit(memory_mb=16, processes=8)  # with the slack 528 MiB
    assert run_in(group, "x = bytearray(200 << 20)\nprint('held')").stdout == "held\n"
    assert run_in(group, "x = bytearray(700 << 20)\nprint('held')").returncode == -9


def test_processes_beyond_the_limit_are_refused(group):
    group.limit(memory_mb=512, processes=4)
    code = """
import threading
stop, started = threading.Event(), 0
try:
    for _ in range(200):
        threading.Thread(target=stop.wait, daemon=True).start()
        started += 1
except RuntimeError:
    pass
print(started, flush=True)
os._exit(0)
"""
    assert run_in(group, code).stdout == "67\n"  # 4 and the slack of 64, less the main thread


def test_a_worker_lives_in_its_group_and_takes_it_along(group, level):
    mark = f"gppo-sandbox-{os.getpid()}-"
    parents = {folder.parent for folder in group.folders.values()}

    def all_groups():
        return {folder for parent in parents for folder in parent.glob(mark + "*")}

    before = all_groups()  # this test's own, and those of sandboxes that other tests keep

    def groups():
        return all_groups() - before

    with Sandbox(level=level) as sandbox:
        sandbox.run(Script("print(1)", (b"",)), Limits(memory_mb=100, processes=3))
        assert len(groups()) == len(group.folders)
        inside = {pid for folder in groups() for pid in (folder / "cgroup.procs").read_text().split()}
        assert len(inside) >= 1
        texts = [file.read_text() for folder in groups() for file in folder.glob("pids.max")]
        assert texts == ["67\n"]
    assert groups() == set()


def tree(root: Path, given: dict[str, str]) -> Path:
    for name, text in given.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "cgroup.subtree_control").write_text(text)
    return root


def test_version_2_makes_its_group_beside_that_of_this_process(tmp_path):
    root = tree(tmp_path, {"user/app": "cpu memory pids", "user/app/me": ""})
    group = ControlGroup(root, "0::/user/app/me\n")
    assert {folder.parent for folder in group.folders.values()} == {root / "user" / "app"}
    assert len(group.entrances) == 1
    group.remove()
    assert list((root / "user" / "app").glob("gppo-*")) == []


def test_without_controllers_there_is_no_group(tmp_path):
    root = tree(tmp_path, {"user": "cpu", "user/me": ""})
    group = ControlGroup(root, "0::/user/me\n")
    assert not group
    assert group.entrances == []
    group.limit(100, 8)
    group.remove()


def test_a_kernel_without_control_groups_is_no_error(tmp_path):
    group = ControlGroup(tmp_path, "")
    assert (group.folders, group.entrances) == ({}, [])


def test_what_a_killed_process_left_is_removed(tmp_path):
    root = tree(tmp_path, {"app": "memory pids", "app/me": ""})
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    stale, alive = root / "app" / f"gppo-sandbox-{dead.pid}-0", root / "app" / f"gppo-sandbox-{os.getppid()}-0"
    stale.mkdir()
    alive.mkdir()
    ControlGroup(root, "0::/app/me\n").remove()
    assert not stale.exists()
    assert alive.exists()
