"""Killing ``gppo`` again and again until it is done, and what a run comes to."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb", "COLUMNS": "200", "NO_COLOR": "1"}
TIMES = ("time", "seconds", "seconds_generate", "seconds_judge", "seconds_update")


class ForkServer:
    """Starts commands through ``fork_server.py``, one at a time."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("fork_server.py")
        self.process = subprocess.Popen(
            [sys.executable, script], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)

    def start(self, folder: Path, *arguments: object, **environment: str) -> "Command":
        """Start ``gppo`` with the arguments in a folder; what it says goes to ``output.txt`` there."""
        asked = {
            "folder": str(folder),
            "arguments": [*map(str, arguments)],
            "output": str(folder / "output.txt"),
            "environment": environment,
        }
        assert self.process.stdin is not None
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        return Command(int(self._read()), self._read, folder)

    def run(self, folder: Path, *arguments: object, **environment: str) -> int:
        """Start and wait; the exit status."""
        return self.start(folder, *arguments, **environment).wait()

    def _read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


class Command:
    """A command that runs."""

    def __init__(self, pid: int, read: Callable[[], str], folder: Path) -> None:
        self.pid = pid
        self.folder = folder
        self.status: int | None = None
        self._reader = threading.Thread(target=self._wait, args=(read,), daemon=True)
        self._reader.start()

    def _wait(self, read: Callable[[], str]) -> None:
        self.status = int(read())

    @property
    def ended(self) -> bool:
        return not self._reader.is_alive()

    def wait(self) -> int:
        self._reader.join(300)
        assert self.status is not None, f"{self.pid} does not end"
        return self.status

    def kill(self, signum: int = signal.SIGKILL) -> int:
        """Send a signal and wait; the exit status. The process has not been reaped before: its id is its own."""
        if not self.ended:
            os.kill(self.pid, signum)
        return self.wait()

    def wait_until(self, seen: Callable[[], bool], seconds: float = 60.0) -> bool:
        """Look, a thousand times a second, whether something is there. False where the command ended before."""
        deadline = time.monotonic() + seconds
        while not self.ended:
            if seen():
                return True
            assert time.monotonic() < deadline, f"nothing to see: {said(self.folder)}"
            time.sleep(0.001)
        return False


@dataclass
class Kills:
    """What was killed, and where it stood.

    Args:
        rng: decides the moments.
        latest: seconds after its start up to which a command is killed at random.
    """

    rng: random.Random
    latest: float
    count: int = 0
    found: Counter[str] = field(default_factory=Counter)

    def until_done(
        self, server: ForkServer, folder: Path, arguments: Sequence[object], aims: Sequence[str], at_most: int
    ) -> None:
        """Start and kill until ``at_most`` kills were made or the command ended by itself; in that case it ended well.

        Args:
            server: starts it.
            folder: where.
            arguments: of ``gppo``.
            aims: names of ``AIMS`` taken in turn: what to wait for before a kill.
            at_most: then it is left to its end.
        """
        kills = 0
        while kills < at_most:
            aim = aims[kills % len(aims)]
            command = server.start(folder, *arguments)
            if aim == "random":
                began, moment = time.monotonic(), self.rng.uniform(0.02, self.latest)
                command.wait_until(lambda began=began, moment=moment: time.monotonic() - began > moment)
            else:
                seen = AIMS[aim](folder)
                command.wait_until(seen)
                time.sleep(self.rng.choice([0.0, 0.002, 0.01]))
            status = command.kill()
            if status == 0:
                return
            assert status == -signal.SIGKILL, said(folder)
            kills += 1
            self.count += 1
            self.found[aim] += 1
            for what, there in left_behind(folder).items():
                if there:
                    self.found[f"left {what}"] += 1
        assert server.run(folder, *arguments) == 0, said(folder)


def kill_as_it_grows(
    server: ForkServer, folder: Path, arguments: Sequence[object], journal: str, most: int, seed: int = 0
) -> int:
    """Start and kill until the command ends well by itself; how many kills that took.

    Args:
        server: starts it.
        folder: where.
        arguments: of ``gppo``.
        journal: pattern of the file that grows, below the folder. No kill may take a line of it.
        most: lines that a start may add before it is killed; how many is drawn.
        seed: decides them.
    """

    def lines() -> int:
        return sum(path.read_bytes().count(b"\n") for path in folder.glob(journal))

    rng, kills = random.Random(seed), 0
    while True:
        before = lines()
        command, wanted = server.start(folder, *arguments), before + rng.randint(0, most)
        running = command.wait_until(lambda wanted=wanted: lines() >= wanted and (folder / "run").exists())
        status = command.kill() if running else command.wait()
        if status == 0:
            return kills
        assert status == -signal.SIGKILL, said(folder)
        assert lines() >= before
        kills += 1


def _new_file(folder: Path, pattern: str) -> Callable[[], bool]:
    """Whether a file or folder is there that was not there at the beginning."""
    before = {path: path.stat().st_mtime_ns for path in folder.glob(pattern)}

    def seen() -> bool:
        for path in folder.glob(pattern):
            try:
                if before.get(path) != path.stat().st_mtime_ns:
                    return True
            except FileNotFoundError:
                continue
        return False

    return seen


#: What a kill can wait for, by name.
AIMS: dict[str, Callable[[Path], Callable[[], bool]]] = {
    "checkpoint": lambda folder: _new_file(folder, "run/checkpoints/*/.writing-*"),
    "evaluation": lambda folder: _new_file(folder, "run/evaluations/*.results.jsonl"),
    "rollouts": lambda folder: _new_file(folder, "run/rollouts/.*.tmp"),
    "output": lambda folder: _new_file(folder, "out.jsonl"),
}


def left_behind(folder: Path) -> dict[str, bool]:
    """What a killed process had in its hands."""
    metrics = folder / "run" / "metrics.jsonl"
    return {
        "a checkpoint half written": any(folder.glob("run/checkpoints/*/.writing-*")),
        "a checkpoint half removed": any(folder.glob("run/checkpoints/*/.removing-*")),
        "an evaluation half done": any(
            not path.with_name(path.name.replace(".results.jsonl", ".json")).exists()
            for path in folder.glob("run/evaluations/*.results.jsonl")
        ),
        "rollouts half written": any(folder.glob("run/rollouts/.*.tmp")),
        "half a line of metrics": _half_line(metrics),
        "metrics past the checkpoint": _ahead(folder),
        "half a line of output": _half_line(folder / "out.jsonl"),
    }


def _half_line(path: Path) -> bool:
    return path.is_file() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0


def _ahead(folder: Path) -> bool:
    metrics, checkpoints = folder / "run" / "metrics.jsonl", [*folder.glob("run/checkpoints/*/step-*/manifest.json")]
    if not metrics.is_file() or not checkpoints:
        return False
    newest = max(int(path.parent.name.removeprefix("step-")) for path in checkpoints)
    lines = [json.loads(line) for line in metrics.read_bytes().split(b"\n")[:-1]]
    return any(line["kind"] in ("rl", "sft") and line["step"] > newest for line in lines)


def said(folder: Path) -> str:
    """The end of what the commands in a folder said."""
    return (folder / "output.txt").read_text(errors="replace")[-2000:]


def outcome(run: Path) -> dict[str, Any]:
    """Everything that a run comes to, times aside: metrics as values, every other file byte by byte."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    files = {
        str(path.relative_to(run)): path.read_bytes()
        for part in ("checkpoints", "evaluations", "rollouts")
        for path in sorted((run / part).rglob("*"))
        if path.is_file()
    }
    return {"metrics": [{k: v for k, v in line.items() if k not in TIMES} for line in lines], **files}


def same_outcome(one: Path, other: Path) -> list[str]:
    """Names of what differs between two runs; [] where they are one and the same."""
    a, b = outcome(one), outcome(other)
    return [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]
