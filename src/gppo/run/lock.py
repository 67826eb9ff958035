"""One process at a time works in a run folder."""

import os
from pathlib import Path

from gppo.types import UserError

LOCK = ".lock"


def lock_folder(folder: Path) -> None:
    """Hold the folder until this process ends, however it ends. Asking again in the same process changes nothing.

    Where the system or the file system has no such locks, nothing is held.

    Raises:
        UserError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        # Left open on purpose: the lock belongs to the process, and the system takes it back even after a SIGKILL.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
        os.close(descriptor)
        raise UserError(
            f"{folder}: another process{f' ({holder})' if holder else ''} works in this run folder; wait for it or "
            "stop it, or choose another run_dir"
        ) from error
    except OSError:  # a network file system without locks
        os.close(descriptor)
        return
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def holder(folder: Path) -> int | None:
    """The number of the process that works in the folder, None where none on this machine does. Takes no lock."""
    try:
        number = int((folder / LOCK).read_text(encoding="ascii"))
        os.kill(number, 0)  # signal 0 asks only
    except PermissionError:
        return number  # it lives and is another user's
    except (OSError, ValueError):
        return None
    return number
