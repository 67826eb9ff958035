"""How many processes besides the program's own count against its limit on processes."""

import os
import platform
import re
import time
from pathlib import Path

_KEEPER = 1  # the inner process, inside the program's own user namespace
_ZYGOTE_AND_KEEPERS = 3
_SLACK = 64  # threads that the user's other processes may start while a program runs
_FRESH_SECONDS = 2.0


def others(level: str, own_uid: bool) -> int:
    """What to add to ``Limits.processes`` for RLIMIT_NPROC, which counts a user's threads in one user namespace (Linux
    5.14 and
    newer) or all over the machine (before, and without namespaces)."""
    if level == "bubblewrap" and _counts_by_namespace():
        return _KEEPER
    if own_uid:
        return _ZYGOTE_AND_KEEPERS
    return _ZYGOTE_AND_KEEPERS + _threads.count() + _SLACK


def _counts_by_namespace() -> bool:
    major, minor = re.match(r"(\d+)\.(\d+)", platform.release()).groups()  # type: ignore[union-attr]
    return (int(major), int(minor)) >= (5, 14)


class _Threads:
    """The threads of this user, counted at most every two seconds."""

    def __init__(self) -> None:
        self.at = -_FRESH_SECONDS
        self.number = 0

    def count(self) -> int:
        if time.monotonic() - self.at >= _FRESH_SECONDS:
            self.number = sum(_threads_of(entry) for entry in os.scandir("/proc") if entry.name.isdigit())
            self.at = time.monotonic()
        return self.number


def _threads_of(process: "os.DirEntry[str]") -> int:
    try:
        if process.stat().st_uid != os.getuid():
            # A process that cannot be dumped shows as root's; its status still names its uid.
            status = Path(process.path, "status").read_text()
            if f"\nUid:\t{os.getuid()}\t" not in status:
                return 0
        return len(os.listdir(f"{process.path}/task"))
    except OSError:
        return 0


_threads = _Threads()
