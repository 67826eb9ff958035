"""Which files a checkpoint consists of, and their checksums: a folder that was damaged is told from a good one."""

import hashlib
import json
import os
from pathlib import Path

from gppo.types.files import json_line

MANIFEST = "manifest.json"
_FORMAT = 1


def write_manifest(folder: Path) -> None:
    """Flush every file of ``folder`` to disk and write their sizes and SHA-256 to its manifest."""
    files = {}
    for path in sorted(folder.iterdir()):
        fsync(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": _digest(path)}
    (folder / MANIFEST).write_bytes(json_line({"format": _FORMAT, "files": files}))
    fsync(folder / MANIFEST)
    fsync(folder)


def why_damaged(folder: Path) -> str | None:
    """In a few words what is wrong with a checkpoint, or None. Reads every byte of it."""
    try:
        content = json.loads((folder / MANIFEST).read_bytes())
        files = {str(name): (int(item["bytes"]), str(item["sha256"])) for name, item in content["files"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return f"its {MANIFEST} cannot be read"
    for name, (size, digest) in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes and should have {size}"
        if _digest(path) != digest:
            return f"the checksum of {name} is wrong"
    return None


def fsync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
