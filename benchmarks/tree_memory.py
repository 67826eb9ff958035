"""Wall time and peak memory of a command with all that it starts, daemons too (Linux).

    python benchmarks/tree_memory.py make test-verl

Memory is the sum of proportional set sizes (a page that n processes share counts 1/n in each), looked at every two
seconds: a peak shorter than that may be missed. How much /dev/shm grew is shown apart; what of it is mapped is in both.
Prints the largest processes at the peak and one line of JSON.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

_SUBREAPER = 36  # prctl(2): orphans below this process become its own children, so daemons stay in the tree


def tree(root: int, deep: bool = True) -> list[int]:
    """Every process below ``root``, or its children."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += below if deep else []
    return found


def bury_orphans(but: int) -> None:
    """Wait for what has ended and whose parent is gone; ``but`` belongs to somebody else."""
    for pid in tree(os.getpid(), deep=False):
        if pid != but:
            os.waitpid(pid, os.WNOHANG)


def proportional_mib(pid: int) -> float:
    """Its share of memory; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def cpu_seconds(pid: int) -> float:
    """Its own so far; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def shared_mib() -> float:
    """All of /dev/shm, other people's too."""
    status = os.statvfs("/dev/shm")
    return (status.f_blocks - status.f_bfree) * status.f_frsize / 2**20


def name_of(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").split()
    except OSError:
        return "?"
    return " ".join(Path(word).name for word in words[:3])[:48]


def main(command: list[str]) -> int:
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    before, started = shared_mib(), time.monotonic()
    process = subprocess.Popen(command)
    peak, shared, most, when, count = 0.0, 0.0, [], 0.0, 0
    used: dict[int, float] = {}
    while process.poll() is None:
        bury_orphans(process.pid)
        below = tree(os.getpid())
        for pid in below:
            used[pid] = max(used.get(pid, 0.0), cpu_seconds(pid))
        sizes = {pid: proportional_mib(pid) for pid in below}
        shared = max(shared, shared_mib() - before)
        if sum(sizes.values()) > peak:
            peak, when = sum(sizes.values()), time.monotonic() - started
            most = [(round(size), name_of(pid)) for pid, size in sorted(sizes.items(), key=lambda item: -item[1])[:25]]
            count = len(sizes)
        time.sleep(2.0)
    seconds = time.monotonic() - started
    bury_orphans(process.pid)
    left = [name_of(pid) for pid in tree(os.getpid())]
    for size, name in most:
        print(f"{size:8d} MiB  {name}")
    print(
        json.dumps(
            {
                "command": " ".join(command),
                "seconds": round(seconds, 1),
                "cpu_seconds": round(sum(used.values())),
                "peak_mib": round(peak),
                "peak_at_seconds": round(when),
                "processes_at_peak": count,
                "dev_shm_mib": round(shared),
                "left_running": left,
                "status": process.returncode,
            }
        )
    )
    return process.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
