"""The hostile programs, at both levels, as the user who runs the tests and, from root, as an ordinary user too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import hostile_programs
import pytest
from ordinary_user import UID, run_as_ordinary_user

RUNNER = Path(__file__).with_name("run_hostile.py")


def test_each_hostile_program_has_its_own_name():
    names = [case.name for case in hostile_programs.ALL]
    assert len(names) == len(set(names)) >= 60


def test_no_hostile_program_gets_out_or_stays(level):
    done = subprocess.run(
        [sys.executable, str(RUNNER), level], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    _nothing_unexpected(json.loads(done.stdout), os.geteuid())


def test_nor_as_an_ordinary_user(level):
    if os.geteuid() != 0:
        pytest.skip("these tests already run as an ordinary user")
    can_mount = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if can_mount.returncode:
        pytest.skip("this root may not mount, so it cannot open the interpreter to another user")
    done = run_as_ordinary_user(RUNNER, level)
    assert done.returncode == 0, done.stderr
    _nothing_unexpected(json.loads(done.stdout), UID)


def _nothing_unexpected(report: dict, uid: int) -> None:
    assert report["uid"] == uid
    assert report["programs"] == len(hostile_programs.ALL)
    assert report["wrong"] == []
    assert report["processes"] == []
    assert report["files"] == []
    assert report["descriptors"] == 0
