import resource
import subprocess
import sys
from pathlib import Path

import pytest
from cli_runs import cold

from gppo.cli import doctor
from gppo.cli.doctor import Finding, findings_table
from gppo.sandbox import Probe, probe

GIB = 1 << 30


def test_it_says_which_isolation_holds_and_why(tmp_path):
    done = cold("doctor", folder=tmp_path)
    found = probe()
    assert done.status == (1 if "│ to do" in done.stdout else 0)
    assert found.level in done.stdout or "cannot be judged" in done.stdout
    for line in ("python", "torch", "device", "engines", "disk", "memory", "open files", "processes", "bubblewrap"):
        assert line in done.stdout
    assert "Traceback" not in done.stderr


def test_a_refusal_says_what_to_do(monkeypatch):
    # A machine without any isolation cannot be had here; the probe's own refusals are tested with the sandbox.
    refused = Probe("refused", "no isolation holds here", (), "install bubblewrap")
    monkeypatch.setattr("gppo.cli.doctor.probe", lambda: refused)
    assert doctor.sandbox() == Finding(
        "sandbox", False, "programs cannot be judged: no isolation holds here; install bubblewrap"
    )


@pytest.mark.parametrize(("ok", "word"), [(True, "ok"), (False, "to do")])
def test_the_table_marks_what_needs_doing(ok, word):
    [cell] = findings_table([Finding("sandbox", ok, "x")]).columns[1].cells
    assert cell == word


def test_an_old_python_and_a_missing_library():
    assert doctor.python((3, 10)) == Finding("python", False, "3.10; install Python 3.11 or newer")
    assert doctor.python((3, 11)).ok
    assert doctor.library("no-such-package").says == "not installed; pip install no-such-package"
    assert doctor.library("torch").ok


def test_a_torch_that_does_not_load_is_told_with_its_reason():
    found = doctor.device("raise ImportError('libcudart.so.12 is missing')")
    assert not found.ok
    assert "libcudart.so.12 is missing" in found.says
    assert "pytorch.org" in found.says


@pytest.mark.parametrize(("cuda", "why"), [("None", "without CUDA"), ("12.8", "CUDA 12.8, the driver may be older")])
def test_a_gpu_that_torch_does_not_see(monkeypatch, cuda, why):
    monkeypatch.setattr(doctor, "nvidia_gpus", lambda: [("NVIDIA L4", 24 * GIB)])
    found = doctor.device(f"print('False {cuda} 2')")
    assert not found.ok
    assert "NVIDIA L4" in found.says
    assert why in found.says
    assert doctor.device("print('True 12.8 2')") == Finding("device", True, "NVIDIA L4 with 24 GiB; CUDA 12.8")


def test_too_little_disk_memory_and_shared_memory(tmp_path):
    assert doctor.disk(Path("runs"), GIB).says.startswith("1.0 GiB free for runs; free some, or set run_dir")
    assert doctor.disk(Path("runs"), 20 * GIB) == Finding("disk", True, "20 GiB free for runs")
    assert not doctor.memory(2 * GIB).ok
    assert doctor.memory(8 * GIB).ok
    gone = doctor.shared_memory(tmp_path / "shm")
    assert not gone.ok
    assert "mount a tmpfs" in gone.says


def test_a_small_shared_memory(full_disk):
    found = doctor.shared_memory(full_disk)
    assert not found.ok
    assert "--shm-size" in found.says


def test_low_limits_are_seen_in_a_process_that_has_them():
    code = (
        "from gppo.cli.doctor import *; import resource; print(limit('open files', resource.RLIMIT_NOFILE, 1024, 'X'))"
    )
    low = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))  # noqa: E731
    said = subprocess.run([sys.executable, "-c", code], preexec_fn=low, capture_output=True, text=True, check=True)
    assert "ok=False, says='at most 200; raise it: X'" in said.stdout
    assert doctor.limit("open files", resource.RLIMIT_NOFILE, 1, "X").ok


def test_a_missing_bubblewrap(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not doctor.bubblewrap().ok
    assert "apt-get install bubblewrap" in doctor.bubblewrap().says
    assert doctor.chromium().ok  # it may be absent
    (tmp_path / "bwrap").write_text("#!/bin/sh\n")
    (tmp_path / "bwrap").chmod(0o755)
    assert doctor.bubblewrap() == Finding("bubblewrap", True, str(tmp_path / "bwrap"))
