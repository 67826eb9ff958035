"""The process that runs a program: it gives up everything it does not need, then becomes the program."""

import atexit
import builtins
import fcntl
import math
import os
import resource
import signal
import sys
import threading
import types
from collections.abc import Callable
from typing import Any, NoReturn

from . import kernel, nodes, values

#: Kept open where the interpreter's library can only be reached through it.
STDLIB_FD = 60
#: The name of the program in tracebacks.
PROGRAM = "program.py"
_OPEN_FILES = 64
_HIGH = 200  # above every descriptor that the zygote and its children hold
_HIGHEST = 512
_RESULT = 3


def confine(fds: list[int], order: dict, parent: int) -> None:
    """Hold ``fds`` as 0, 1, 2, ... and no other; then limits, no way to be inspected, and the system call filter, for
    good.

    The last of ``fds`` is written a byte when all of it holds, and closed.
    """
    kernel.die_with_parent()
    if os.getppid() != parent:  # it died before that took effect
        os._exit(1)
    for fd, source in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD, _HIGH) for fd in fds]):
        os.dup2(source, fd)
    os.closerange(len(fds), STDLIB_FD)
    os.closerange(STDLIB_FD + 1, _HIGHEST)
    _set_limits(order)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it; here it ends a flood of output at once
    kernel.hide_memory()
    kernel.no_new_privileges()
    kernel.install_filter(os.getpid())
    begins = len(fds) - 1
    os.write(begins, b"1")
    os.close(begins)


def _set_limits(order: dict) -> None:
    seconds = math.ceil(order["seconds"])
    file_size = (order["output_kb"] << 10) + 1  # one byte more than allowed tells "full" from "over"
    memory = (order["memory_mb"] - order["scratch_mb"]) << 20
    for limit, soft, hard in (
        (resource.RLIMIT_CPU, seconds, seconds + 1),
        (resource.RLIMIT_AS, memory, memory),
        (resource.RLIMIT_FSIZE, file_size, file_size),
        (resource.RLIMIT_NPROC, order["nproc"], order["nproc"]),
        (resource.RLIMIT_NOFILE, _OPEN_FILES, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0, 0),
        (resource.RLIMIT_MEMLOCK, 0, 0),
    ):
        resource.setrlimit(limit, (soft, hard))


def script(code: types.CodeType) -> NoReturn:
    """Run a program as ``python program.py`` does, on descriptors 0, 1 and 2."""
    fresh_streams()
    module = new_module("__main__")
    finish(lambda: exec(code, module.__dict__))


def call(code: types.CodeType, entry: str, adapters: list[str | None]) -> NoReturn:
    """Run a program's definitions, call ``entry`` with the values of descriptor 0, write value and arguments to
    descriptor 3."""
    arguments = values.decode(read_all(0))
    fresh_streams()
    module = new_module("solution")

    def work() -> None:
        exec(code, module.__dict__)
        function = find(module.__dict__, entry)
        for index, kind in enumerate(adapters):
            if kind is not None and index < len(arguments):
                arguments[index] = nodes.from_plain(arguments[index], kind, module.__dict__)
        value = function(*arguments)
        write_all(_RESULT, values.encode({"value": value, "arguments": arguments}, _node_values))

    finish(work)


def _node_values(value: Any) -> Any:
    plain = nodes.to_plain(value)
    if plain is value:
        raise values.ValueRefusedError(f"a {type(value).__name__} is not a plain value")
    return values.tagged(plain)


def find(names: dict[str, Any], entry: str) -> Any:
    """``Solution().entry`` where there is such a method, else the module-level ``entry``."""
    solution = names.get("Solution")
    if isinstance(solution, type) and hasattr(solution, entry):
        return getattr(solution(), entry)
    if entry not in names:
        raise NameError(f"the program defines no {entry}")
    return names[entry]


def new_module(name: str) -> types.ModuleType:
    """An empty module that holds the program; LeetCode's two classes are there, as on LeetCode."""
    module = types.ModuleType(name)
    module.__dict__.update(__builtins__=builtins, __file__=PROGRAM)
    if name != "__main__":
        module.__dict__.update(ListNode=nodes.ListNode, TreeNode=nodes.TreeNode)
    sys.modules[name] = module
    return module


def fresh_streams() -> None:
    """Standard streams as a new interpreter would open them in a UTF-8 locale."""
    sys.stdin = sys.__stdin__ = _stream(0, "r", "strict")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _stream(1, "w", "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _stream(2, "w", "backslashreplace")  # type: ignore[misc]


def _stream(fd: int, mode: str, errors: str) -> Any:
    buffering = 1 if fd == 2 else -1
    return open(fd, mode, buffering, encoding="utf-8", errors=errors, closefd=False)


def finish(work: Callable[[], object]) -> NoReturn:
    """Do ``work`` and end as the interpreter does: traceback, other threads, atexit, flush, status."""
    sys.setrecursionlimit(sys.getrecursionlimit() + _depth())
    status = _status_of(work)
    for last in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        _status_of(last)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None and not stream.closed:
                stream.flush()
        except BaseException:
            status = status or 120  # what the interpreter exits with when it cannot flush
    os._exit(status)


def _status_of(work: Callable[[], object]) -> int:
    try:
        work()
    except SystemExit as leaving:
        return _exit_status(leaving.code)
    except MemoryError:
        os.write(2, b"\nMemoryError\n")  # there may be no memory left for a traceback
        return 1
    except BaseException as error:
        try:
            sys.stdout.flush()
            error.__traceback__ = _without_our_frames(error.__traceback__)
            sys.excepthook(type(error), error, error.__traceback__)
            sys.stderr.flush()
        except BaseException:
            os.write(2, b"\nthe traceback could not be printed\n")
        return 1
    return 0


def _without_our_frames(traceback: types.TracebackType | None) -> types.TracebackType | None:
    while traceback is not None and traceback.tb_frame.f_code.co_filename != PROGRAM:
        traceback = traceback.tb_next
    return traceback


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    os.write(2, f"{code}\n".encode(errors="backslashreplace"))
    return 1


def _depth() -> int:
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]
    return depth


def read_all(fd: int) -> bytes:
    """Everything from ``fd`` to its end."""
    pieces = []
    while piece := os.read(fd, 1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def write_all(fd: int, data: bytes) -> None:
    """All of ``data`` to ``fd``."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
