"""How far a stage is: a live line in a terminal, a plain line now and then in a log."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_WINDOW = 16


class Bar:
    """What a stage reports to. Its estimate is the pace of the last 16 reports, and says nothing before the second.

    Args:
        description: what is going on, e.g. "RL math".
        total: how many there are, None where nobody knows.
        done: how many were done before, e.g. by the run that is continued; they do not count for the pace.
        show: called after every report.
        clock: seconds, ascending.
    """

    def __init__(
        self,
        description: str,
        total: int | None,
        done: int = 0,
        show: Callable[["Bar"], None] = lambda bar: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.description = description
        self.total = total
        self.done = done
        self.status = ""
        self._show = show
        self._clock = clock
        self._marks = deque([(clock(), done)], maxlen=_WINDOW + 1)

    def advance(self, count: int = 1, status: str | None = None) -> None:
        """``count`` more are done. ``status`` replaces the words at the end of the line."""
        self.done += count
        self.status = self.status if status is None else status
        self._marks.append((self._clock(), self.done))
        self._show(self)

    def tell(self, status: str) -> None:
        """Replace the words at the end of the line."""
        self.status = status
        self._show(self)

    def remaining(self) -> float | None:
        """Seconds until the end at the present pace, never below 0; None where nothing can be said."""
        (first_time, first_done), (last_time, last_done) = self._marks[0], self._marks[-1]
        if self.total is None or len(self._marks) < 3 or last_done <= first_done:
            return None
        pace = (last_time - first_time) / (last_done - first_done)
        return max(0.0, pace * (self.total - last_done) - (self._clock() - last_time))

    def line(self) -> str:
        """Everything in one plain line."""
        count = f"{self.done}" if self.total is None else f"{self.done} of {self.total}"
        left = self.remaining()
        parts = [f"{self.description}: {count}", "" if left is None else f"{duration(left)} left", self.status]
        return ", ".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """Seconds in the two largest units that matter: 45s, 3m20s, 2h05m."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


@contextmanager
def progress(
    description: str,
    total: int | None,
    *,
    done: int = 0,
    every: float = 30.0,
    stream: TextIO | None = None,
    shown: bool = True,
) -> Iterator[Bar]:
    """Show how far something is while the block runs.

    Args:
        description: what is going on.
        total: how many there are, None where nobody knows.
        done: how many were done before.
        every: where the stream is no terminal, seconds between plain lines; the last report is always printed.
        stream: where to show it, standard error where not given.
        shown: False says nothing: of several ranks one speaks.
    """
    if not shown:
        yield Bar(description, total, done)
        return
    stream = stream or sys.stderr
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        with _live(description, total, done, stream) as bar:
            yield bar
        return
    due = 0.0
    said = ""

    def show(bar: Bar) -> None:
        nonlocal due, said
        if time.monotonic() >= due:
            due = time.monotonic() + every
            said = bar.line()
            print(said, file=stream, flush=True)

    bar = Bar(description, total, done, show)
    try:
        yield bar
    finally:
        if bar.line() != said:
            print(bar.line(), file=stream, flush=True)


@contextmanager
def _live(description: str, total: int | None, done: int, stream: TextIO) -> Iterator[Bar]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text

    class Remaining(ProgressColumn):
        """Rich's own estimate forgets steps that take longer than half a minute."""

        def render(self, task: Task) -> Text:
            left = bar.remaining()
            return Text("" if left is None else f"{duration(left)} left", style="progress.remaining")

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        Remaining(),
        TextColumn("{task.fields[status]}", markup=False),
    )
    shown = Progress(*columns, console=Console(file=stream), redirect_stdout=False)
    task = shown.add_task(description, total=total, completed=done, status="")
    bar = Bar(description, total, done, show=lambda bar: shown.update(task, completed=bar.done, status=bar.status))
    with shown:
        yield bar
