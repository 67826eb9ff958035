"""``gppo doctor``: what this machine can do, each line ok or what to do. torch is asked in a process of its own."""

import importlib.metadata
import os
import platform
import resource
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from gppo.plan import main_memory, nvidia_gpus
from gppo.sandbox import probe

_GIB = 1 << 30
#: What gppo cannot do without, and what it works with where it is there.
_NEEDED = ("torch", "transformers", "math-verify")
_ENGINES = ("vllm", "verl", "trl", "peft", "deepspeed", "ray", "flash-attn")
_OLDEST_PYTHON = (3, 11)
#: Below these a run of ordinary size is likely to stop: bytes free, bytes of memory, files, processes.
ENOUGH_DISK, ENOUGH_MEMORY, ENOUGH_SHM = 10 * _GIB, 4 * _GIB, 64 << 20
ENOUGH_FILES, ENOUGH_PROCESSES = 1024, 512
_ASK = "import torch; print(torch.cuda.is_available(), torch.version.cuda, torch.get_num_threads())"
_CHROMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        what: its name.
        ok: whether it is as it should be.
        says: what was found; where not ok, what to do.
    """

    what: str
    ok: bool
    says: str


def examine(folder: Path) -> list[Finding]:
    """Look at everything; the sandbox is started and attacked to find out.

    Args:
        folder: where runs will be kept; it need not exist.
    """
    return [
        python(sys.version_info[:2]),
        *(library(name) for name in _NEEDED),
        device(),
        engines(),
        sandbox(),
        bubblewrap(),
        disk(folder, _free(folder)),
        memory(main_memory()),
        shared_memory(Path("/dev/shm")),
        limit("open files", resource.RLIMIT_NOFILE, ENOUGH_FILES, "ulimit -n 65536"),
        limit("processes", resource.RLIMIT_NPROC, ENOUGH_PROCESSES, "ulimit -u 4096"),
        chromium(),
    ]


def findings_table(findings: list[Finding]) -> Table:
    """The findings for the terminal."""
    table = Table(title="gppo doctor")
    table.add_column("what")
    table.add_column("")
    table.add_column("found, or what to do", overflow="fold")
    for finding in findings:
        table.add_row(finding.what, "ok" if finding.ok else "to do", finding.says)
    return table


def python(version: tuple[int, ...]) -> Finding:
    """Whether Python is new enough."""
    if version < _OLDEST_PYTHON:
        return Finding("python", False, f"{'.'.join(map(str, version))}; install Python 3.11 or newer")
    return Finding("python", True, platform.python_version())


def library(name: str) -> Finding:
    """Whether a package that is needed is installed."""
    version = _version(name)
    return Finding(name, version is not None, version or f"not installed; pip install {name}")


def engines() -> Finding:
    """Which optional engines are installed here; each may live in an environment of its own."""
    found = [f"{name} {version}" for name in _ENGINES if (version := _version(name))]
    return Finding("engines", True, ", ".join(["local", *found]))


def device(ask: str = _ASK) -> Finding:
    """The GPUs that the driver knows, and whether torch sees them."""
    gpus = nvidia_gpus()
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word"])[-1]
        return Finding("device", False, f"torch does not load ({last}); install it anew, see pytorch.org/get-started")
    sees, cuda, threads = done.stdout.split()
    if sees == "True":
        said = ", ".join(f"{name} with {memory / _GIB:.0f} GiB" for name, memory in gpus)
        return Finding("device", True, f"{said or 'a GPU'}; CUDA {cuda}")
    if gpus:
        why = "torch is a build without CUDA" if cuda == "None" else f"torch wants CUDA {cuda}, the driver may be older"
        advice = "install torch as pytorch.org/get-started says for your driver"
        return Finding("device", False, f"the driver knows {gpus[0][0]} and torch does not see it: {why}; {advice}")
    return Finding("device", True, f"no GPU; the CPU with {threads} threads")


def sandbox() -> Finding:
    """Which isolation holds, and why not a stronger one."""
    found = probe()
    if found.level == "refused":
        return Finding("sandbox", False, f"programs cannot be judged: {found.reason}; {found.advice}")
    held = ", ".join(check.name for check in found.checks)
    return Finding("sandbox", True, f"{found.level} ({found.reason}); attacks that it held: {held}")


def bubblewrap() -> Finding:
    """Whether the program of the stronger level is there."""
    path = shutil.which("bwrap")
    if path or sys.platform != "linux":
        return Finding("bubblewrap", True, path or "for Linux only")
    return Finding(
        "bubblewrap", False, "not installed; apt-get install bubblewrap gives the sandbox its stronger level"
    )


def disk(folder: Path, free: int) -> Finding:
    """Whether runs have room. ``gppo plan`` tells how much one needs."""
    if free < ENOUGH_DISK:
        return Finding(
            "disk",
            False,
            f"{free / _GIB:.1f} GiB free for {folder}; free some, or set run_dir to another disk (gppo plan says how "
            "much a recipe needs)",
        )
    return Finding("disk", True, f"{free / _GIB:.0f} GiB free for {folder}")


def memory(size: int) -> Finding:
    """Whether main memory holds a small run."""
    if size < ENOUGH_MEMORY:
        return Finding("memory", False, f"{size / _GIB:.1f} GiB; 4 GiB are needed: raise the container's limit")
    return Finding("memory", True, f"{size / _GIB:.0f} GiB")


def shared_memory(folder: Path) -> Finding:
    """Whether processes can share tensors."""
    if not folder.is_dir():
        return Finding("shared memory", sys.platform != "linux", f"no {folder}; mount a tmpfs there")
    size = shutil.disk_usage(folder).total
    if size < ENOUGH_SHM:
        return Finding(
            "shared memory", False, f"{folder} has {size >> 20} MiB; start the container with --shm-size=1g or more"
        )
    return Finding("shared memory", True, f"{size / _GIB:.1f} GiB in {folder}")


def limit(what: str, which: int, enough: int, command: str) -> Finding:
    """Whether a limit of the shell leaves enough."""
    soft, _ = resource.getrlimit(which)
    if soft == resource.RLIM_INFINITY:
        return Finding(what, True, "unlimited")
    if soft < enough:
        return Finding(what, False, f"at most {soft}; raise it: {command}")
    return Finding(what, True, f"at most {soft}")


def chromium() -> Finding:
    """A browser is needed for pictures of reports only, so its absence is fine."""
    path = next((found for name in _CHROMES if (found := shutil.which(name))), None)
    return Finding("chromium", True, path or "not there; only scripts/screenshot_report.py needs it")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _free(folder: Path) -> int:
    """Bytes that this user may still write where the folder is, or will be."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    found = os.statvfs(there)
    return found.f_bavail * found.f_frsize
