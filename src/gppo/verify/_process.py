"""One worker process of a pool, seen from its parent."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from typing import Any, Self

from gppo.verify._frames import HEADER_BYTES, body_bytes, read_body, send_frame

START_SECONDS = 120.0
# numpy's libraries reserve memory for each thread, which on a large machine alone would break the memory limit.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class WorkerDiedError(Exception):
    """A worker ended by itself, or could not start; the message says how."""


class AnswerKilledWorkerError(WorkerDiedError):
    """A worker ended as libraries end when memory or stack runs out: gmp aborts, deep recursion in C faults."""


_OUT_OF_MEMORY = (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS)


class WorkerProcess:
    """One interpreter that compares answers; used by one thread at a time."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket) -> None:
        self.process = process
        self._connection = connection

    @classmethod
    def spawn(cls, memory_limit: int) -> Self:
        """Start a process; ``await_ready`` before the first question. Raises OSError where the system refuses."""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            arguments = [str(theirs.fileno()), str(os.getpid()), str(memory_limit)]
            # A fresh interpreter rather than a fork: the caller may hold locks in other threads.
            # -P: a file named sympy.py in the current folder is not imported.
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gppo.verify._worker", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                process_group=0,  # Ctrl-C reaches the parent only
                env=os.environ | _ONE_THREAD,
            )
            undo.pop_all()
        return cls(process, ours)

    def await_ready(self) -> None:
        """Wait until sympy is loaded, so that no answer pays for it."""
        try:
            self._receive(time.monotonic() + START_SECONDS)
        except TimeoutError:
            raise WorkerDiedError(f"a worker was not ready within {START_SECONDS:.0f} s") from None

    def ask(self, gold: str, predicted: str, seconds: float) -> dict[str, Any]:
        """Compare one pair. Raises TimeoutError after ``seconds``, WorkerDiedError where the process ended."""
        deadline = time.monotonic() + seconds
        try:
            self._connection.settimeout(seconds)
            send_frame(self._connection, {"gold": gold, "predicted": predicted})
        except TimeoutError:
            raise
        except OSError as error:
            raise self._how_it_ended() from error
        return self._receive(deadline)

    def _receive(self, deadline: float) -> dict[str, Any]:
        return read_body(self._read(body_bytes(self._read(HEADER_BYTES, deadline)), deadline))

    def _read(self, size: int, deadline: float) -> bytes:
        received = b""
        while len(received) < size:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                self._connection.settimeout(left)
                part = self._connection.recv(size - len(received))
            except TimeoutError:
                raise
            except OSError as error:
                raise self._how_it_ended() from error
            if not part:
                raise self._how_it_ended()
            received += part
        return received

    def _how_it_ended(self) -> WorkerDiedError:
        try:
            status = self.process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            return WorkerDiedError("a worker closed its connection")
        if status in _OUT_OF_MEMORY:
            return AnswerKilledWorkerError(f"a worker ended by signal {-status}")
        how = f"by signal {-status}" if status < 0 else f"with status {status}"
        return WorkerDiedError(f"a worker ended {how}")

    def kill(self) -> None:
        """End the process at once and reap it. Safe to call twice, and while another thread waits in ``ask``."""
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):  # the other end may be gone already
            self._connection.shutdown(socket.SHUT_RDWR)  # wakes a thread that waits; close alone would not
        self._connection.close()
