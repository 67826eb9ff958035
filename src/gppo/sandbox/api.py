"""What the sandbox takes and gives back. Expected outputs are not among it: no process that runs a program has them."""

from dataclasses import dataclass, field
from typing import Any, Literal

#: How one run ended. ``ok``: return code 0. ``compile``: the source does not compile (found before any run).
#: ``infra``: the sandbox itself failed; the program was not judged.
Status = Literal["ok", "error", "timeout", "memory", "output", "compile", "infra"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run of a program may use.

    Args:
        seconds: wall time; CPU time is held to the same, rounded up.
        memory_mb: address space of its processes together with its tmpfs, MiB.
        output_kb: standard output and standard error, KiB each; more ends the run with ``output``.
        processes: processes and threads alive at a time, itself included.
    """

    seconds: float = 6.0
    memory_mb: int = 1024
    output_kb: int = 4096
    processes: int = 8


@dataclass(frozen=True, slots=True)
class Script:
    """A program that reads standard input and writes standard output; one fresh process for each input."""

    source: str
    stdins: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Function:
    """A function that is called with values; one fresh process for each call.

    Args:
        source: defines ``Solution().entry`` or a module-level ``entry``.
        entry: the function's or method's name.
        calls: for each run its positional arguments: plain values (None, bool, int, float, str, list, tuple, dict,
            set).
        adapters: for each argument "list" (linked list), "tree" (binary tree) or None, where the annotations ask for
            LeetCode's ListNode / TreeNode; empty where there are none.
    """

    source: str
    entry: str
    calls: tuple[tuple[Any, ...], ...]
    adapters: tuple[str | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Asserts:
    """Test code with asserts, run in a second sandboxed process that reaches the program by values only.

    Args:
        source: the program under test.
        names: module-level names of the program that the test code calls; attributes as ``Solution.method``.
        tests: pieces of test code, each run against a fresh process of the program. A piece passes when it runs to its
            end.
    """

    source: str
    names: tuple[str, ...]
    tests: tuple[str, ...]


Program = Script | Function | Asserts


@dataclass(frozen=True, slots=True)
class Execution:
    """What one run did.

    Args:
        status: how it ended.
        stdout: what it printed, bytes, capped.
        value: Function: the returned value (plain); None otherwise.
        arguments: Function: the arguments after the call, for functions that work in place.
        passed: Asserts: whether the piece of test code ran to its end. False where it did not.
        detail: in a few words what happened: the exception, the signal, the limit.
        seconds: wall time.
        cpu_seconds: CPU time, of the program's process and of what the sandbox did to start and watch it.
    """

    status: Status
    stdout: bytes = b""
    value: Any = None
    arguments: tuple[Any, ...] = field(default=())
    passed: bool = False
    detail: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
