"""Throughput of the sandbox beside a fresh interpreter for each test, on one pinned core; and a soak for leaks.

    python benchmarks/sandbox.py [--programs 20] [--level bubblewrap] [--soak 20000]

A program has 16 tests and the import header that real solutions have. The ways are interleaved, program by program, so
that a busy machine is as bad for each. Prints a table and one line of JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from gppo.sandbox import Sandbox, Script

TESTS = 16
SOURCE = """\
import collections, heapq, math, itertools, functools, bisect, re
from typing import List, Optional, Dict, Tuple

def solve(numbers: List[int]) -> int:
    heap = list(numbers)
    heapq.heapify(heap)
    total = 0
    while heap:
        total = total * 31 + heapq.heappop(heap)
    return total % 1_000_003

print(solve([int(word) for word in input().split()]))
"""
STDINS = tuple(" ".join(str((i * j * 7919) % 1000) for j in range(1, 200)).encode() + b"\n" for i in range(TESTS))


def fresh(command: list[str], path: str) -> list[bytes]:
    """Each test in a new process."""
    return [subprocess.run([*command, path], input=text, capture_output=True, check=True).stdout for text in STDINS]


def compare(programs: int, level: str | None) -> dict:
    """Milliseconds a test of each way, on the core that this process is pinned to."""
    python = os.path.realpath(sys.executable)
    shut_in = ["bwrap", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--tmpfs", "/tmp", "--clearenv"]
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder, Sandbox(level=level) as sandbox:
        path = str(Path(folder, "program.py"))
        Path(path).write_text(SOURCE)
        ways: dict[str, Callable[[], list[bytes]]] = {
            "gppo": lambda: [run.stdout for run in sandbox.run(Script(SOURCE, STDINS))],
            "python": lambda: fresh([python], path),
            "bwrap python": lambda: fresh([*shut_in, python], path),
        }
        spent = dict.fromkeys(ways, 0.0)
        answers = {name: way() for name, way in ways.items()}
        assert answers["gppo"] == answers["python"] == answers["bwrap python"]
        for _ in range(programs):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                spent[name] += time.perf_counter() - start
        return {"level": sandbox.probe().level, **{name: 1000 * s / programs / TESTS for name, s in spent.items()}}


def cpu_per_test(workers: int, programs: int, level: str | None) -> float:
    """Milliseconds of CPU a test, the program's, the sandbox's and ours, with ``workers`` at work at the same time."""
    program = Script(SOURCE, STDINS)
    with Sandbox(workers=workers, level=level) as sandbox, ThreadPoolExecutor(workers) as pool:
        list(pool.map(lambda _: sandbox.run(program), range(2 * workers)))
        start = time.process_time()
        runs = [run for several in pool.map(lambda _: sandbox.run(program), range(programs)) for run in several]
        spent = time.process_time() - start + sum(run.cpu_seconds for run in runs)
        return 1000 * spent / len(runs)


def soak(tests: int, level: str | None) -> dict:
    """That many tests in a row: memory of this process and the zygote, descriptors, processes, files."""
    program = Script(SOURCE, STDINS)
    with Sandbox(level=level) as sandbox:
        for _ in range(50):
            sandbox.run(program)
        before = _held()
        start = time.perf_counter()
        for _ in range(max(1, tests // TESTS)):
            assert {run.status for run in sandbox.run(program)} == {"ok"}
        return {"tests": tests, "seconds": time.perf_counter() - start, "before": before, "after": _held()}


def _held() -> dict:
    time.sleep(0.5)  # the last program's processes are leaving
    me = psutil.Process()
    below = me.children(recursive=True)
    return {
        "memory_mb": round(sum(process.memory_info().rss for process in (me, *below)) / 2**20, 1),
        "descriptors": me.num_fds(),
        "processes": len(below),
        "files": sum(name.startswith("gppo") for name in os.listdir(tempfile.gettempdir())),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=20)
    parser.add_argument("--level", choices=["bubblewrap", "landlock"])
    parser.add_argument("--soak", type=int, default=0, metavar="TESTS")
    options = parser.parse_args()
    if options.soak:
        print(json.dumps(soak(options.soak, options.level)))
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    times = compare(options.programs, options.level)
    os.sched_setaffinity(0, cores)
    ours = times["gppo"]
    print(f"{'way (' + times['level'] + ')':28}{'ms a test':>10}{'tests/s':>10}{'ours is':>10}")
    for name in ("gppo", "python", "bwrap python"):
        print(f"{name:28}{times[name]:10.2f}{1000 / times[name]:10.0f}{times[name] / ours:9.1f}x")
    one, two = (cpu_per_test(workers, 2 * options.programs, options.level) for workers in (1, 2))
    print(f"CPU ms a test with 1 and 2 workers: {one:.2f}, {two:.2f} ({two / one - 1:+.0%})")
    ratios = {"python": times["python"] / ours, "bwrap": times["bwrap python"] / ours}
    line = {"ours": ours, "peer": {"python": times["python"], "bwrap": times["bwrap python"]}, "ratio": ratios}
    print(json.dumps({"benchmark": "sandbox", "unit": "ms a test", **line, "cpu_ms": {"1": one, "2": two}}))


if __name__ == "__main__":
    main()
