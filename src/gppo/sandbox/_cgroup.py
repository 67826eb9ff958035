"""A control group for each worker, where groups can be made: a second bound on memory and processes.

The limits of the process and its tmpfs hold everywhere and come first. What they do not count (pages of pipes and of
memory files, tables of the kernel, a zygote that grows) the group counts: whatever a worker holds in all, the machine
and the trainer keep the rest. Where no group can be made, nothing changes; the probe's self-test decides without it.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

#: What zygote, keepers and memory files may hold beside the program itself.
MEMORY_SLACK_MB = 512
PIDS_SLACK = 64

_LIMIT_FILES = {"memory": ("memory.max", "memory.limit_in_bytes"), "pids": ("pids.max",)}  # version 2, version 1
_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "gppo-sandbox-"
_numbers = itertools.count()


class ControlGroup:
    """The group of one worker: none, one folder (version 2), or one for memory and one for processes (version 1).

    Args:
        root: where control groups are mounted.
        own: what /proc/self/cgroup says.
    """

    def __init__(self, root: Path = _ROOT, own: str | None = None) -> None:
        text = _own_groups() if own is None else own
        self.folders: dict[str, Path] = {}
        self._set: dict[str, int] = {}
        for controllers, parent in _parents(root, text):
            folder = parent / f"{_PREFIX}{os.getpid()}-{next(_numbers)}"
            with contextlib.suppress(OSError):
                _sweep(parent)
                folder.mkdir()
                self.folders |= dict.fromkeys(controllers, folder)

    def __bool__(self) -> bool:
        return bool(self.folders)

    @property
    def entrances(self) -> list[str]:
        """Files that a process writes its id to in order to enter."""
        return sorted({str(folder / "cgroup.procs") for folder in self.folders.values()})

    def limit(self, memory_mb: int, processes: int) -> None:
        """What the worker and the program that it is about to run may hold together."""
        wanted = {"memory": (memory_mb + MEMORY_SLACK_MB) << 20, "pids": processes + PIDS_SLACK}
        for controller, value in wanted.items():
            folder = self.folders.get(controller)
            if folder is None or self._set.get(controller) == value:
                continue
            for name in _LIMIT_FILES[controller]:
                if (folder / name).exists():
                    with contextlib.suppress(OSError):
                        (folder / name).write_text(str(value))
                        self._set[controller] = value

    def remove(self) -> None:
        """Remove the folders, once the last processes in them are gone."""
        for folder in set(self.folders.values()):
            for _ in range(40):
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    time.sleep(0.05)
        self.folders = {}
        self._set = {}


def _own_groups() -> str:
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:  # a kernel without control groups
        return ""


def _parents(root: Path, own: str) -> Iterator[tuple[list[str], Path]]:
    """(controllers, the folder in which a group that has them can be made)."""
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        here = root / names / path.lstrip("/") if names else root / path.lstrip("/")
        if names in ("memory", "pids"):
            yield [names], here
        elif not names:
            # Version 2: a group that holds processes has no limited children, so ours is beside this process's own.
            for folder in (here, here.parent):
                with contextlib.suppress(OSError):
                    given = (folder / "cgroup.subtree_control").read_text().split()
                    if {"memory", "pids"} <= set(given):
                        yield ["memory", "pids"], folder
                        break


def _sweep(parent: Path) -> None:
    """Remove what a process left that was killed."""
    for folder in parent.glob(f"{_PREFIX}*"):
        pid = folder.name.removeprefix(_PREFIX).split("-")[0]
        if pid.isdigit() and not Path("/proc", pid).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()
