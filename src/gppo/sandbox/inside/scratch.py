"""The folder a program may write to where it has no memory file system of its own (level "landlock"): its quota, and
its end."""

import os

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
    """Delete what is in ``folder``. Folders are flattened, not descended into: depth costs neither stack nor
    descriptors."""
    unique = 0
    while names := os.listdir(folder):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.isdir(path) or os.path.islink(path):
                os.unlink(path)
                continue
            for inner in os.listdir(path):
                unique += 1
                os.rename(os.path.join(path, inner), os.path.join(folder, f".{unique}"))
            os.rmdir(path)
