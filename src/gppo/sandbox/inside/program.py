"""One program: its namespaces and memory file system, its compilation, and one forked child after another for its
tests.

Two processes: the outer one waits for the inner and says how it ended; the inner one is process 1 of its own pid
namespace (level
"bubblewrap"), so that its end is the end of everything the program started.
"""

import json
import math
import os
import resource
import select
import signal
import socket
import time
import types
from typing import Any, NoReturn

from . import asserts, child, kernel, scratch

#: Bytes of the longest message to a zygote or a program.
MAX_MESSAGE = 1 << 16
_QUOTA_POLL_MS = 50
_LINGER_SECONDS = 0.05


def run(order: dict, fds: list[int], settings: dict) -> NoReturn:
    """In a fresh fork of the zygote. ``fds``: the socket to the parent, the source."""
    status = 1
    try:
        kernel.die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        channel = socket.socket(fileno=fds[0])
        namespaces = settings["level"] == "bubblewrap"
        if namespaces:
            kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWPID)
            kernel.mount_tmpfs(settings["scratch"], order["scratch_mb"], order["scratch_files"])
            os.chdir(settings["scratch"])
        pid = os.fork()
        if pid == 0:
            kernel.die_with_parent()
            if namespaces:
                # Nobody maps a uid into this one: no capability over anything that exists, and its own count of
                # processes.
                kernel.unshare(kernel.CLONE_NEWUSER)
            kernel.set_capabilities(administrator=False)
            _Judge(channel, order, settings).serve(fds[1])
        else:
            _, ended = os.waitpid(pid, 0)
            if not namespaces:
                scratch.empty(settings["scratch"])
            channel.send(json.dumps({"ended": ended}).encode())
        status = 0
    finally:
        os._exit(status)


class _Judge:
    """The inner process. It never runs the program itself: only its children do."""

    def __init__(self, channel: socket.socket, order: dict, settings: dict) -> None:
        self.channel, self.order, self.settings = channel, order, settings
        self.pid = os.getpid()
        self.poller = select.poll()
        self.poller.register(channel, 0)  # hang-up only: the parent is gone

    def serve(self, source_fd: int) -> None:
        code = self._compile(source_fd)
        if code is None:
            return
        self.channel.send(b'{"ready": true}')
        while True:
            message, fds, _, _ = socket.recv_fds(self.channel, MAX_MESSAGE, 8)
            if not message:
                return
            before = time.process_time()
            reply = self._asserts(code, fds) if self.order["kind"] == "asserts" else self._plain(code, fds)
            reply["keeper_cpu"] = time.process_time() - before
            self.channel.send(json.dumps(reply).encode())

    def _compile(self, source_fd: int) -> types.CodeType | None:
        """The parser is C that reads hostile text: bounded, and a crash of it is seen by the outer process as a
        failure to compile."""
        seconds, bytes_ = math.ceil(self.order["seconds"]) + 1, self.order["memory_mb"] << 20
        before = {limit: resource.getrlimit(limit) for limit in (resource.RLIMIT_CPU, resource.RLIMIT_AS)}
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, before[resource.RLIMIT_CPU][1]))
        resource.setrlimit(resource.RLIMIT_AS, (bytes_, before[resource.RLIMIT_AS][1]))
        with open(source_fd, "rb") as file:
            source = file.read()
        try:
            code = compile(source.decode("utf-8"), child.PROGRAM, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, MemoryError, RecursionError, OverflowError) as error:
            detail = f"{type(error).__name__}: {error}"[:200]
            self.channel.send(json.dumps({"compile": detail}).encode())
            return None
        for limit, values in before.items():
            resource.setrlimit(limit, values)
        return code

    def _fork(self, fds: list[int], action: Any, *arguments: Any) -> tuple[int, int]:
        """Start a confined child that holds ``fds`` as 0, 1, 2, ... and nothing else; its pid, and a pipe that tells
        whether it began."""
        begun, begins = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self.channel.close()
                child.confine([*fds, begins], self.order, self.pid)
                action(*arguments)
            finally:
                os._exit(1)
        os.close(begins)
        return pid, begun

    def _plain(self, code: types.CodeType, fds: list[int]) -> dict:
        """fds: Script: stdin, stdout, stderr. Function: arguments, stdout, stderr, result."""
        start = time.monotonic()
        if self.order["kind"] == "function":
            pid, begun = self._fork(fds, child.call, code, self.order["entry"], self.order["adapters"])
        else:
            pid, begun = self._fork(fds, child.script, code)
        for fd in fds:
            os.close(fd)
        stopped = self._watch(pid, start + self.order["seconds"])
        return {
            **_reap(pid, kill=stopped is not None),
            "stopped": stopped,
            "begun": _byte_of(begun),
            "seconds": time.monotonic() - start,
        }

    def _asserts(self, code: types.CodeType, fds: list[int]) -> dict:
        """fds: test code, the program's stdin, stdout and stderr, the tester's output, its verdict.

        The program's process never holds the test code: it starts before the test code is read, and is given other
        descriptors.
        """
        start = time.monotonic()
        test, stdin, stdout, stderr, tester_out, verdict = fds
        requests, ask = os.pipe()
        answers, answer = os.pipe()
        names = self.order["names"]
        candidate, begun = self._fork([stdin, stdout, stderr, requests, answer], asserts.serve, code)
        tester, tester_begun = self._fork([test, tester_out, tester_out, answers, ask, verdict], asserts.judge, names)
        for fd in (*fds, requests, ask, answers, answer):
            os.close(fd)
        stopped = self._watch(tester, start + self.order["seconds"])
        tester_end = _reap(tester, kill=stopped is not None)
        # Its pipes are closed now: it ends, and if it is why the tester ended, says how.
        lingers = stopped is not None or self._watch(candidate, time.monotonic() + _LINGER_SECONDS) is not None
        return {
            **_reap(candidate, kill=lingers),
            "lingers": lingers,
            "tester": tester_end,
            "stopped": stopped,
            "begun": _byte_of(begun) and _byte_of(tester_begun),
            "seconds": time.monotonic() - start,
        }

    def _watch(self, pid: int, deadline: float) -> str | None:
        """Wait for a child to end. Returns why it must be killed ("timeout", "files"), or None where it ended by
        itself."""
        handle = os.pidfd_open(pid)
        self.poller.register(handle, select.POLLIN)
        quota, folder = self.settings["level"] == "landlock", self.settings["scratch"]
        try:
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return "timeout"
                wait_ms = math.ceil(left * 1000)
                events = dict(self.poller.poll(min(wait_ms, _QUOTA_POLL_MS) if quota else wait_ms))
                if self.channel.fileno() in events:
                    os._exit(1)  # and the children die with us
                if handle in events:
                    return None
                if quota and scratch.over(folder, self.order["scratch_mb"], self.order["scratch_files"]):
                    return "files"
        finally:
            self.poller.unregister(handle)
            os.close(handle)


def _reap(pid: int, *, kill: bool) -> dict:
    """Wait status, CPU seconds and largest memory of a child, after killing it if asked."""
    if kill:
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return {"ended": status, "cpu": usage.ru_utime + usage.ru_stime, "rss_mb": usage.ru_maxrss / 1024}


def _byte_of(pipe: int) -> bool:
    with open(pipe, "rb", buffering=0) as file:
        return file.read(1) == b"1"
