"""One worker: a zygote, the programs that it is given one at a time, and a fresh zygote when one has died or grown
old."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

from gppo.sandbox import _launch
from gppo.sandbox._cgroup import ControlGroup
from gppo.sandbox._session import MESSAGE, InfraError, Session, order_for, test_count
from gppo.sandbox.api import Execution, Limits, Program
from gppo.sandbox.inside import scratch
from gppo.types.errors import GppoError

_START_SECONDS = 30.0
_RECYCLE_AFTER = 2_000
_ATTEMPTS = 3


class SandboxError(GppoError):
    """No program can be judged here. The message says why, and what to install or allow."""


class Worker:
    """Not thread-safe, but for ``abandon``: the Sandbox lends it to one caller at a time."""

    def __init__(self, level: _launch.Level) -> None:
        self.level = level
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._zygote = -1
        self._scratch = ""
        self._group: ControlGroup | None = None
        self._programs = 0
        self._abandoned = False
        self._zygote_lock = threading.Lock()  # between ``abandon`` and the caller that closes the descriptor

    def start(self) -> None:
        """Start the zygote. Raises SandboxError with its complaint where it cannot."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if self.level == "landlock":
            self._scratch = tempfile.mkdtemp(prefix="gppo-sandbox-", dir=_open_folder())
        self._group = ControlGroup()
        message, complaint = b"", ""
        fds: list[int] = []
        with theirs, tempfile.TemporaryFile() as log:
            try:
                self._process = _launch.start(self.level, theirs, self._scratch, self._group.entrances, log)
                theirs.close()
                ours.settimeout(_START_SECONDS)
                message, fds, _, _ = socket.recv_fds(ours, MESSAGE, 1)
            except OSError as error:
                complaint = str(error)
            log.seek(0)
            complaint = log.read(4000).decode("utf-8", "replace").strip().split("\n")[-1] or complaint
        self._control = ours
        if not fds:
            self.stop()
            raise SandboxError((json.loads(message)["error"] if message else complaint) or "it ended at once")
        with self._zygote_lock:
            self._zygote = fds[0]
        self._programs = 0

    def abandon(self) -> None:
        """From any thread: kill what runs. The call under way, if any, raises SandboxError, and so does each later."""
        with self._zygote_lock:
            self._abandoned = True
            self._kill_zygote()

    def _kill_zygote(self) -> None:
        if self._zygote >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._zygote, signal.SIGKILL)

    def stop(self) -> None:
        """Kill the zygote, which takes all it started with it, and leave nothing behind."""
        with self._zygote_lock:
            self._kill_zygote()
            if self._zygote >= 0:
                os.close(self._zygote)
                self._zygote = -1
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            try:
                self._process.wait(2.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._scratch:
            _remove(self._scratch)
            self._scratch = ""
        if self._group is not None:
            self._group.remove()
            self._group = None

    def run(self, program: Program, limits: Limits) -> list[Execution]:
        """Every test's Execution. What the sandbox breaks runs twice more, on a fresh zygote; then it is ``infra``.

        Raises:
            SandboxError: the worker was abandoned.
        """
        done: dict[int, Execution] = {}
        failures, reason = 0, ""
        while failures < _ATTEMPTS and len(done) < test_count(program):
            before = len(done)
            try:
                self._attempt(program, limits, done)
            except (InfraError, SandboxError) as error:
                self.stop()
                if self._abandoned:
                    raise SandboxError("the sandbox was closed while the program ran") from None
                reason = str(error)
                failures = 1 if len(done) > before else failures + 1
            except BaseException:  # Ctrl-C in the middle of a program
                self.stop()
                raise
        return [done.get(index, Execution("infra", detail=reason)) for index in range(test_count(program))]

    def _attempt(self, program: Program, limits: Limits, done: dict[int, Execution]) -> None:
        if self._programs >= _RECYCLE_AFTER:
            self.stop()
        if self._control is None:
            self.start()
        if self._abandoned:
            raise SandboxError("abandoned")
        assert self._control is not None
        self._programs += 1
        if self._group is not None:
            self._group.limit(limits.memory_mb, limits.processes)
        source = program.source.encode("utf-8", "surrogatepass")  # a lone surrogate then fails to compile
        order = order_for(program, limits, self.level, own_uid=os.geteuid() == 0)
        session = Session(self._control, source, order, wait_for_end=self.level == "landlock")
        try:
            problem = session.compiled()
            if problem is not None:
                done |= {index: Execution("compile", detail=problem) for index in range(test_count(program))}
            else:
                session.run(program, limits, done)
        finally:
            if not session.close():
                self.stop()


def _open_folder() -> str | None:
    """Where another uid can reach a scratch folder: the usual place, unless root's TMPDIR is closed to others."""
    if os.geteuid() != 0:
        return None
    for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"):
        way = [Path(folder), *Path(folder).parents]
        if all(part.is_dir() and part.stat().st_mode & 0o001 for part in way):
            return folder
    return None


def _remove(folder: str) -> None:
    """Remove a scratch folder whose last users are dying."""
    for _ in range(40):
        try:
            scratch.empty(folder)
            os.rmdir(folder)
            return
        except OSError:
            time.sleep(0.05)
