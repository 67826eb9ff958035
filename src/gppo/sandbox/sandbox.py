"""The public face: a few workers, lent to whoever calls, from any thread."""

import queue
from types import TracebackType

from gppo.sandbox._session import test_count
from gppo.sandbox._worker import SandboxError, Worker
from gppo.sandbox.api import Execution, Limits, Program
from gppo.sandbox.probe import Probe, choose


class Sandbox:
    """Runs untrusted programs. Use it as a context manager; ``run`` may be called from several threads at a time.

    Args:
        workers: programs that may run at the same time; one zygote process each.
        level: "bubblewrap" or "landlock" to insist on one; None takes the first that holds here.

    Raises:
        SandboxError: no level holds here, or not the one asked for. Nothing is ever run with less isolation than was
        found to hold.
    """

    def __init__(self, workers: int = 1, level: str | None = None) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; it must be at least 1")
        self._probe, first = choose(level)
        if first is None or self._probe.level == "refused":
            raise SandboxError(f"{self._probe.reason}; {self._probe.advice}")
        self._workers = [first, *(Worker(self._probe.level) for _ in range(1, workers))]
        self._idle: queue.LifoQueue[Worker] = queue.LifoQueue()
        for worker in reversed(self._workers):
            self._idle.put(worker)
        self._closed = False

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def probe(self) -> Probe:
        """What was found when this sandbox started."""
        return self._probe

    def run(self, program: Program, limits: Limits = Limits()) -> list[Execution]:  # noqa: B008 - frozen
        """Run a program: one Execution for each input, call or piece of test code, in order.

        Waits for an idle worker. A program whose source does not compile gives ``compile`` for all without running.

        Raises:
            SandboxError: the sandbox is closed, or was while the program ran.
            ValueRefusedError: an argument of a call is not a plain value.
        """
        if self._closed:
            raise SandboxError("this sandbox is closed; make a new one")
        if test_count(program) == 0:
            return []
        worker = self._idle.get()
        try:
            return worker.run(program, limits)
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """End every worker, and the programs that run. Their calls raise SandboxError. Closing twice does nothing."""
        if self._closed:
            return
        self._closed = True
        for worker in self._workers:
            worker.abandon()
        for _ in self._workers:
            self._idle.get().stop()
