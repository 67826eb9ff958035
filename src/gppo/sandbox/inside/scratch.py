"""The folder of a program that has no memory file system of its own (level "landlock"): its quota, and its end."""

import os
import stat

_LONGEST_PATH = 1_000  # deeper nesting is nobody's need, and costs each look the square of its depth


def over(folder: str, megabytes: int, files: int) -> bool:
    """Whether ``folder`` holds more than that. Looks at no more than ``files`` entries, so its cost is bounded."""
    seen = size = 0
    folders = [folder]
    while folders:
        path = folders.pop()
        if len(path) > _LONGEST_PATH:
            return True
        try:
            os.chmod(path, 0o700)  # a folder made unreadable hides nothing: it is ours, and the program cannot chmod
            with os.scandir(path) as entries:
                for entry in entries:
                    seen += 1
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                    if seen > files or size > megabytes << 20:
                        return True
        except OSError:
            seen += 1  # it changed while we looked: the next look will tell
    return False


def empty(folder: str) -> None:
    """Delete what is in ``folder``. Folders are flattened, not descended into: depth costs no stack or descriptor."""
    unique, prefix = 0, os.urandom(8).hex()  # names that a program cannot have taken
    while names := os.listdir(folder):
        for name in names:
            path = os.path.join(folder, name)
            if not _is_folder(path):
                os.unlink(path)
                continue
            os.chmod(path, 0o700)
            for inner in os.listdir(path):
                unique += 1
                inner_path = os.path.join(path, inner)
                if _is_folder(inner_path):
                    os.chmod(inner_path, 0o700)  # moving a folder takes the right to write to it
                os.rename(inner_path, os.path.join(folder, f"{prefix}-{unique}"))
            os.rmdir(path)


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)
