"""Whether the other ranks still live. One that dies leaves the others waiting for it in a collective, where no signal
handler of Python runs; so a thread of each watches the others' processes."""

import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

#: Seconds that a rank has to end by itself, with words of its own, after another has ended.
_GRACE = 3.0


@dataclass(frozen=True, slots=True)
class Fellows:
    """The other ranks.

    Args:
        rank_of: by the descriptor of a process, its rank and its number; {} where the system has no such descriptors.
        mine: this process's rank.
    """

    rank_of: dict[int, tuple[int, int]]
    mine: int

    def gone(self, seconds: float) -> list[tuple[int, int]]:
        """Ranks that have ended, with their processes' numbers; waits so long for the first."""
        ends = select.poll()
        for fd in self.rank_of:
            ends.register(fd, select.POLLIN)
        return sorted(self.rank_of[fd] for fd, _ in ends.poll(int(1000 * seconds)))

    def end_where_one_is_gone(self, seconds: float) -> None:
        """End this process where another has ended, now or within so many seconds; the lowest rank left says so."""
        if not (gone := self.gone(seconds)):
            return
        if self.mine == min(set(range(len(self.rank_of) + 1)) - {rank for rank, _ in gone}):
            rank, pid = gone[0]
            print(
                f"error: rank {rank} (process {pid}) has ended before the others; what it said, if anything, is above. "
                "Run the same command again to go on from the newest checkpoint",
                file=sys.stderr,
                flush=True,
            )
        os._exit(1)


@contextmanager
def watched(mine: int, processes: Sequence[int]) -> Iterator[Fellows]:
    """Within the block this process ends, in a few seconds, where another has ended. The lowest rank left says so.

    Args:
        mine: this process's rank.
        processes: every rank's process number.
    """
    rank_of = {}
    if hasattr(os, "pidfd_open"):
        rank_of = {os.pidfd_open(pid): (rank, pid) for rank, pid in enumerate(processes) if rank != mine}
    fellows = Fellows(rank_of, mine)
    over = threading.Event()

    def terminate(signum: int, _frame: FrameType | None) -> None:
        fellows.end_where_one_is_gone(0)  # torchrun's signal to those that are left
        signal.signal(signum, before)
        signal.raise_signal(signum)

    before = signal.signal(signal.SIGTERM, terminate)
    threading.Thread(target=_watch, args=(fellows, over), daemon=True, name="ranks").start()
    try:
        yield fellows
    finally:
        over.set()
        signal.signal(signal.SIGTERM, before)


def _watch(fellows: Fellows, over: threading.Event) -> None:
    while fellows.rank_of and not over.wait(0.2):
        if fellows.gone(0) and not over.wait(_GRACE):
            fellows.end_where_one_is_gone(0)
