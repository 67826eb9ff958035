"""What a run's processes left behind, read as an Execution. Nothing here trusts a byte of it."""

import json
import os
import signal
from typing import Any

from gppo.sandbox.api import Execution, Limits, Status
from gppo.sandbox.inside import values

_DETAIL = 200


class Files:
    """The memory files of one run. A program writes to them, and only what fits its limits is read back."""

    def __init__(self, limits: Limits, **contents: bytes | None) -> None:
        self.cap = limits.output_kb << 10
        self.fds: dict[str, int] = {}
        for name, content in contents.items():
            self.fds[name] = os.memfd_create(f"gppo-{name}", os.MFD_CLOEXEC)
            if content:
                _write(self.fds[name], content)

    def over(self, name: str) -> bool:
        """Whether more was written than may be."""
        return os.fstat(self.fds[name]).st_size > self.cap

    def read(self, name: str) -> bytes:
        """What was written, up to the cap."""
        fd = self.fds[name]
        return os.pread(fd, min(os.fstat(fd).st_size, self.cap), 0)

    def last_line(self, name: str) -> str:
        """The last line that is not blank, shortened: of a traceback, the exception."""
        fd = self.fds[name]
        size = os.fstat(fd).st_size
        lines = os.pread(fd, 4096, max(0, size - 4096)).decode("utf-8", "replace").split("\n")
        return next((line.strip()[:_DETAIL] for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        for fd in self.fds.values():
            os.close(fd)
        self.fds = {}


def _write(fd: int, content: bytes) -> None:
    written = 0
    while written < len(content):  # at positions, so that the program finds the file at its start
        written += os.pwrite(fd, content[written:], written)


def judge(files: Files, reply: dict[str, Any], kind: str, limits: Limits) -> Execution:
    """The Execution that ``reply`` of the inner process and the files amount to."""
    status, detail = _ended(files, reply, limits)
    if status == "infra":
        return Execution(status, detail=detail)
    cpu = reply["cpu"] + reply["keeper_cpu"] + reply.get("tester", {}).get("cpu", 0.0)
    run: dict[str, Any] = {"stdout": files.read("stdout"), "seconds": reply["seconds"], "cpu_seconds": cpu}
    if kind == "script" or status in ("timeout", "output"):
        return Execution(status, detail=detail, **run)
    if kind == "function":
        if status != "ok":
            return Execution(status, detail=detail, **run)
        return _returned(files, run)
    return _verdict(files, reply, limits, (status, detail), run)


def _ended(files: Files, reply: dict[str, Any], limits: Limits) -> tuple[Status, str]:
    if any(files.over(name) for name in files.fds.keys() & {"stdout", "stderr", "result"}):
        return "output", f"more than {limits.output_kb} KiB of output"
    if reply["stopped"] == "files":
        return "memory", "its files outgrew the limit"
    if reply["stopped"] is not None:
        return "timeout", f"longer than {limits.seconds:g} s"
    ended = reply["ended"]
    if os.WIFSIGNALED(ended):
        return ("ok", "") if reply.get("lingers") else _signalled(os.WTERMSIG(ended), reply, limits)
    code = os.WEXITSTATUS(ended)
    if code == 0:
        return "ok", ""
    line = files.last_line("stderr")
    if _out_of_memory(line):
        return "memory", line
    return "error", line or f"exit status {code}"


def _signalled(number: int, reply: dict[str, Any], limits: Limits) -> tuple[Status, str]:
    if number == signal.SIGXCPU or (number == signal.SIGKILL and reply["cpu"] >= limits.seconds):
        return "timeout", f"more than {limits.seconds:g} s of CPU"
    if number == signal.SIGKILL:  # not from us, and a program cannot send it: the machine's memory, or somebody
        if reply["rss_mb"] >= limits.memory_mb / 2:
            return "memory", "killed while it held more than half of its memory limit"
        return "infra", "its process was killed from outside"
    if number == signal.SIGXFSZ:
        return "output", f"a file of more than {limits.output_kb} KiB"
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return "error", f"ended by {name}"


def _out_of_memory(line: str) -> bool:
    name = line.partition(":")[0]
    return name.endswith("MemoryError") or line.startswith("OSError: [Errno 28]") or "Cannot allocate memory" in line


def _returned(files: Files, run: dict[str, Any]) -> Execution:
    text = files.read("result")
    if not text:
        return Execution("error", detail="it ended before it returned", **run)
    try:
        result = values.decode(text)
        return Execution("ok", value=result["value"], arguments=tuple(result["arguments"]), **run)
    except (values.ValueRefusedError, TypeError, KeyError) as error:
        return Execution("error", detail=f"what it returned cannot be read: {error}"[:_DETAIL], **run)


def _verdict(
    files: Files, reply: dict[str, Any], limits: Limits, ended: tuple[Status, str], run: dict[str, Any]
) -> Execution:
    """The tester's word, which the program cannot write; where the tester lost the program, how that ``ended``."""
    status, detail = ended
    tester = reply["tester"]
    if os.WIFSIGNALED(tester["ended"]):
        how, why = _signalled(os.WTERMSIG(tester["ended"]), tester, limits)
        return Execution(how, detail=f"the test code: {why}", **run)
    try:
        verdict = json.loads(files.read("verdict"))
    except ValueError:
        return Execution("error", detail="the test code ended by itself", **run)
    if verdict["passed"]:
        return Execution("ok", passed=True, **run)
    if verdict["kind"] == "assert":
        return Execution("ok", detail=verdict["detail"], **run)
    if verdict["kind"] == "program":
        return Execution(status if status != "ok" else "error", detail=detail or verdict["detail"], **run)
    return Execution("memory" if _out_of_memory(verdict["detail"]) else "error", detail=verdict["detail"], **run)
