"""Which level is chosen, why, and what is said where none holds."""

import os
import sys

import pytest

from gppo.sandbox import Sandbox, SandboxError, probe
from gppo.sandbox._cgroup import ControlGroup
from gppo.sandbox.inside import kernel
from gppo.types import GppoError

CHECKS = ["socket", "host file", "write outside", "environment", "fork bomb"]


def test_every_self_test_holds_at_a_level_that_is_used(level):
    found = probe(level)
    assert found.level == level
    assert [check.name for check in found.checks] == CHECKS
    assert all(check.held for check in found.checks)


def test_without_bubblewrap_the_reason_says_so(monkeypatch, probes):
    if probes["landlock"].level == "refused":
        pytest.skip("Landlock does not hold here")
    monkeypatch.setenv("PATH", "/nonexistent")
    found = probe()
    assert found.level == "landlock"
    assert "bubblewrap is not installed" in found.reason
    assert probe("bubblewrap").level == "refused"


def test_a_bubblewrap_that_fails_is_not_taken(monkeypatch, probes, tmp_path):
    if probes["landlock"].level == "refused":
        pytest.skip("Landlock does not hold here")
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = probe()
    assert found.level == "landlock"
    assert "Permission denied" in found.reason


def test_a_bubblewrap_that_isolates_nothing_is_refused(monkeypatch, tmp_path):
    """One that starts what it is given, and only pretends: the live self-test must see through it."""
    fake = tmp_path / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = probe("bubblewrap")
    assert found.level == "refused"
    assert found.advice


def test_with_neither_it_refuses_and_says_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(kernel, "landlock_version", lambda: 0)
    with pytest.raises(SandboxError, match=r"bubblewrap is not installed.*no Landlock.*install bubblewrap") as caught:
        Sandbox()
    assert isinstance(caught.value, GppoError)
    assert "\n" not in str(caught.value)


def test_other_systems_get_one_sentence(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="Linux only, and this is darwin"):
        Sandbox()


def test_a_limit_on_processes_that_does_not_bind_is_seen(monkeypatch, level):
    """As real root RLIMIT_NPROC counts nobody: the fork bomb of the self-test must then say no."""
    from gppo.sandbox import _cgroup, _crowd

    monkeypatch.setattr(_crowd, "others", lambda level, own_uid: 10_000)
    group = ControlGroup()
    grouped = "pids" in group.folders
    group.remove()
    monkeypatch.setattr(_cgroup, "_parents", lambda root, own: iter(()))
    found = probe(level)
    assert found.level == "refused"
    assert "fork bomb" in found.reason
    monkeypatch.undo()
    monkeypatch.setattr(_crowd, "others", lambda level, own_uid: 10_000)
    if grouped:  # the second bound alone holds
        assert probe(level).level == level


def test_an_unknown_level_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="firejail"):
        Sandbox(level="firejail")
