"""Which isolation holds on this machine: found by trying, never by asking for version numbers."""

import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gppo.sandbox._launch import Level
from gppo.sandbox._worker import SandboxError, Worker
from gppo.sandbox.api import Execution, Limits, Script
from gppo.sandbox.inside import kernel, syscalls

LEVELS: tuple[Level, ...] = ("bubblewrap", "landlock")
_LIMITS = Limits(seconds=5.0, memory_mb=65_536, output_kb=64, processes=8)  # so that memory is not what stops a bomb
_ADVICE = (
    "install bubblewrap (apt-get install bubblewrap) and allow user namespaces (on Ubuntu 24.04: sysctl "
    "kernel.apparmor_restrict_unprivileged_userns=0; in Docker: --security-opt seccomp=unconfined), or use a Linux "
    "5.13 or newer with Landlock, which needs neither; run as an ordinary user, or as root that may change its uid"
)


@dataclass(frozen=True, slots=True)
class Check:
    """One attempt of a program to get out, made when the sandbox started. ``held``: it failed, as it must."""

    name: str
    held: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """What holds here.

    Args:
        level: the isolation in use, or "refused".
        reason: why this level and not a stronger one; for "refused", why none.
        checks: the attempts at the level that was chosen, or tried last.
        advice: for "refused", what to install or allow.
    """

    level: Literal["bubblewrap", "landlock", "refused"]
    reason: str
    checks: tuple[Check, ...] = ()
    advice: str = ""


def choose(level: str | None = None) -> tuple[Probe, Worker | None]:
    """Find the level to use and prove it: the Probe, and its first worker, started (None where refused).

    Args:
        level: insist on "bubblewrap" or "landlock"; None takes the first that holds.
    """
    if level is not None and level not in LEVELS:
        raise ValueError(f"level is {level!r}; it must be bubblewrap, landlock or None")
    if sys.platform != "linux":
        return _refused(
            f"programs are judged on Linux only, and this is {sys.platform}", (), "use a Linux machine"
        ), None
    if kernel.MACHINE not in syscalls.ALLOWED:
        return _refused(f"there is no system call filter for {kernel.MACHINE}", (), "use x86_64 or aarch64"), None
    problems: list[str] = []
    checks: tuple[Check, ...] = ()
    for candidate in (one for one in LEVELS if level in (None, one)):
        worker = Worker(candidate)
        problem = _missing(candidate)
        if not problem:
            problem, checks = _try(worker)
        if not problem:
            why = "; ".join(problems) if problems else "asked for" if level else "the stronger of the two levels"
            return Probe(worker.level, why, checks), worker
        worker.stop()
        problems.append(f"{candidate}: {problem}")
    return _refused(f"no isolation holds here ({'; '.join(problems)})", checks, _ADVICE), None


def probe(level: str | None = None) -> Probe:
    """What :class:`Sandbox` would use here, without keeping anything running."""
    found, worker = choose(level)
    if worker is not None:
        worker.stop()
    return found


def _refused(reason: str, checks: tuple[Check, ...], advice: str) -> Probe:
    return Probe("refused", reason, checks, advice)


def _missing(level: str) -> str:
    if level == "bubblewrap":
        return "" if shutil.which("bwrap") else "bubblewrap is not installed"
    return "" if kernel.landlock_version() else "the kernel has no Landlock"


def _try(worker: Worker) -> tuple[str, tuple[Check, ...]]:
    try:
        worker.start()
    except SandboxError as error:
        return f"it does not start: {error}", ()
    checks = tuple(self_test(worker))
    failed = [check.name for check in checks if not check.held]
    return f"its self-test failed: {', '.join(failed)}" if failed else "", checks


_SOCKET = """
import socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
    try:
        socket.socket(family)
        print("escaped")
    except OSError:
        pass
print("end")
"""
_READ = """
for path in (input(), "/etc/passwd", "/proc/self/environ", "/proc/1/environ"):
    try:
        open(path, "rb").read(1)
        print("escaped", path)
    except OSError:
        pass
print("end")
"""
_WRITE = """
for path in (input(), "/escaped", "/dev/escaped", "/var/tmp/escaped"):
    try:
        open(path, "w").write("x")
        print("escaped", path)
    except OSError:
        pass
print("end")
"""
_ENVIRONMENT = """
import os
print(*sorted(os.environ))
print("end")
"""
_FORK_BOMB = """
import os, threading
try:
    while True:
        os.fork()
        print("escaped")
except OSError:
    pass
threading.stack_size(65536)
stop, threads = threading.Event(), []
try:
    for _ in range(400):
        threads.append(threading.Thread(target=stop.wait, daemon=True))
        threads[-1].start()
    print("escaped")
except RuntimeError:
    pass
print("end")
"""


def self_test(worker: Worker) -> list[Check]:
    """Five programs that try to get out of a started worker."""
    folder = Path(tempfile.mkdtemp(prefix="gppo-probe-"))
    secret = folder / "secret"
    try:
        secret.write_text(secrets.token_hex())
        folder.chmod(0o777)  # so that only the sandbox, and no file mode, is in the way
        secret.chmod(0o666)
        return [
            _check(worker, "socket", _SOCKET, "", _says_end),
            _check(worker, "host file", _READ, str(secret), _says_end),
            _check(worker, "write outside", _WRITE, str(folder / "new"), _says_end),
            _check(worker, "environment", _ENVIRONMENT, "", lambda lines: lines == ["TMPDIR", "end"]),
            _check(worker, "fork bomb", _FORK_BOMB, "", _says_end),
        ]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _says_end(lines: list[str]) -> bool:
    return lines == ["end"]


def _check(worker: Worker, name: str, source: str, stdin: str, held: Callable[[list[str]], bool]) -> Check:
    run: Execution = worker.run(Script(source, (f"{stdin}\n".encode(),)), _LIMITS)[0]
    said = run.stdout.decode("utf-8", "replace").split("\n")[:-1]
    fine = run.status == "ok" and held(said)
    return Check(name, fine, "" if fine else f"{run.status}: {run.detail or ' '.join(said)}"[:300])
