"""One program on a running zygote: the orders that go in, the answers that come back, and when to stop waiting for
them."""

import json
import os
import signal
import socket
from collections import deque
from typing import Any

from gppo.sandbox import _crowd
from gppo.sandbox._outcome import Files, judge
from gppo.sandbox.api import Asserts, Execution, Function, Limits, Program, Script
from gppo.sandbox.inside import values

GRACE_SECONDS = 15.0  # an overloaded machine may be late with an answer; past this it is not coming
MESSAGE = 1 << 16
_AHEAD = 4  # tests that wait in the program's socket, so that it never waits for us
_SCRATCH_FILES = 2_048
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGXCPU}


class InfraError(Exception):
    """The sandbox itself failed in the middle of a program."""


def kind_of(program: Program) -> str:
    """ "script", "function" or "asserts"."""
    return {Script: "script", Function: "function", Asserts: "asserts"}[type(program)]


def test_count(program: Program) -> int:
    """How many runs a program asks for."""
    if isinstance(program, Script):
        return len(program.stdins)
    return len(program.calls) if isinstance(program, Function) else len(program.tests)


def order_for(program: Program, limits: Limits, level: str, own_uid: bool) -> dict[str, Any]:
    """What the zygote is told about a program, source and tests aside."""
    order: dict[str, Any] = {
        "kind": kind_of(program),
        "seconds": limits.seconds,
        "memory_mb": limits.memory_mb,
        "output_kb": limits.output_kb,
        "scratch_mb": max(1, min(64, limits.memory_mb // 16)),
        "scratch_files": _SCRATCH_FILES,
        "nproc": limits.processes + _crowd.others(level, own_uid) + isinstance(program, Asserts),
    }
    if isinstance(program, Function):
        order |= {"entry": program.entry, "adapters": list(program.adapters)}
    if isinstance(program, Asserts):
        order["names"] = list(program.names)
    return order


def files_for(program: Program, index: int, limits: Limits) -> Files:
    """The memory files of one test, in the order in which the program's process expects them.

    Raises:
        ValueRefusedError: an argument of the call is not a plain value.
    """
    if isinstance(program, Script):
        return Files(limits, stdin=program.stdins[index], stdout=None, stderr=None)
    if isinstance(program, Function):
        arguments = values.encode(list(program.calls[index]))
        return Files(limits, arguments=arguments, stdout=None, stderr=None, result=None)
    test = program.tests[index].encode("utf-8", "surrogatepass")
    return Files(limits, test=test, stdin=None, stdout=None, stderr=None, tester=None, verdict=None)


class Session:
    """A program that a zygote is running.

    Args:
        control: the zygote's socket.
        wait_for_end: whether :meth:`close` waits until the program's processes are gone and its folder is empty.
    """

    def __init__(self, control: socket.socket, source: bytes, order: dict[str, Any], wait_for_end: bool) -> None:
        self.order, self.wait_for_end = order, wait_for_end
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(order["seconds"] + GRACE_SECONDS)
        with theirs:
            file = Files(Limits(), source=source)
            try:
                socket.send_fds(control, [json.dumps(order).encode()], [theirs.fileno(), file.fds["source"]])
            except OSError as error:
                self.channel.close()
                raise InfraError(f"the zygote is gone: {error}") from None
            finally:
                file.close()

    def compiled(self) -> str | None:
        """Wait for the program to compile; None, or why it does not. Raises InfraError."""
        answer = self._receive()
        if "ready" in answer:
            return None
        if "compile" in answer:
            return str(answer["compile"])
        ended = answer["ended"]
        if os.WIFSIGNALED(ended) and os.WTERMSIG(ended) in _CRASHES:
            return (
                "it takes the compiler too long" if os.WTERMSIG(ended) == signal.SIGXCPU else "it crashes the compiler"
            )
        raise InfraError("the program's keeper was killed while it compiled")

    def run(self, program: Program, limits: Limits, done: dict[int, Execution]) -> None:
        """Run the tests that are not yet in ``done`` and put them there, in order. Raises InfraError, with ``done``
        still right."""
        waiting: deque[tuple[int, Files]] = deque()
        todo = deque(index for index in range(test_count(program)) if index not in done)
        try:
            while todo or waiting:
                while todo and len(waiting) < _AHEAD:
                    index = todo.popleft()
                    waiting.append((index, files_for(program, index, limits)))
                    self._send(list(waiting[-1][1].fds.values()))
                answer = self._receive()
                if "ended" in answer and "begun" not in answer:
                    raise InfraError("the program's keeper was killed")
                if not answer["begun"]:
                    raise InfraError("the program's process could not be started")
                execution = judge(waiting[0][1], answer, self.order["kind"], limits)
                if execution.status == "infra":
                    raise InfraError(execution.detail)
                index, files = waiting.popleft()
                done[index] = execution
                files.close()
        finally:
            for _, files in waiting:
                files.close()

    def close(self) -> bool:
        """End the program's processes. Whether the worker can go on: False where its folder may not be empty."""
        clean = True
        if self.wait_for_end:
            try:
                self.channel.shutdown(socket.SHUT_WR)
                while "ended" not in self._receive():
                    pass
            except (OSError, InfraError):
                clean = False
        self.channel.close()
        return clean

    def _send(self, fds: list[int]) -> None:
        try:
            socket.send_fds(self.channel, [b"t"], fds)
        except OSError as error:
            raise InfraError(f"the program's keeper is gone: {error}") from None

    def _receive(self) -> dict[str, Any]:
        try:
            message = self.channel.recv(MESSAGE)
        except OSError as error:
            raise InfraError(f"no answer from the sandbox: {error}") from None
        if not message:
            raise InfraError("the program's keeper is gone")
        answer: dict[str, Any] = json.loads(message)
        return answer
