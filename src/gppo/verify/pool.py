"""Judging in worker processes that can be killed at any moment, from any thread and without signals in the caller."""

import os
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from gppo.types import GppoError, UserError, Verdict
from gppo.verify._process import AnswerKilledWorkerError, WorkerDiedError, WorkerProcess
from gppo.verify.cascade import MEMORY_LIMIT, NOT_COMPARABLE, UNREADABLE, compare_plain
from gppo.verify.extract import MAX_ANSWER_CHARS

ATTEMPTS = 3
TIMEOUT = 2.0
MIN_MEMORY = 256 << 20
_KNOWN_PAIRS = 8192
_KNOWN_CHARS = 500
_CLOSED = "The judge pool is closed."


class JudgePool:
    """Persistent worker processes that compare answers, each with a deadline and a memory limit.

    Args:
        workers: processes; they start when first needed.
        timeout: seconds for one pair. The parent enforces it: the worker is killed and replaced.
        memory_limit: bytes of address space of one worker (Linux).

    Pairs are (reference answer, predicted answer). A worker that dies for another reason is replaced and the pair
    judged again, twice; then its verdict is ``infra``. What was decided about the last 8192 short pairs is kept, as the
    responses to one problem often say the same. Methods may be called from any thread. Use as a context manager, or
    call ``close``.
    """

    def __init__(self, workers: int = 1, timeout: float = TIMEOUT, memory_limit: int = 1 << 30) -> None:
        if workers < 1 or timeout <= 0 or memory_limit < MIN_MEMORY:
            raise UserError(
                f"A judge pool needs workers >= 1, timeout > 0 and memory_limit >= {MIN_MEMORY} bytes, "
                f"not {workers}, {timeout} and {memory_limit}."
            )
        self.timeout = timeout
        self._workers = workers
        self._memory_limit = memory_limit
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._closed = False
        self._live: set[WorkerProcess] = set()
        self._known: OrderedDict[tuple[str, str], tuple[bool, str]] = OrderedDict()
        self._idle: queue.LifoQueue[WorkerProcess | Future[WorkerProcess] | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)
        self._judges = ThreadPoolExecutor(workers, thread_name_prefix="judge")
        # Linux kills a worker when the *thread* that started it ends, so one thread that lives as long as the pool
        # starts them all.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="judge-start")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill and reap every worker. Judgements under way raise GppoError. A second call does nothing."""
        if os.getpid() != self._owner:  # in a fork of the owner: the workers are not ours
            return
        with self._lock:
            self._closed = True
            live, self._live = self._live, set()
        for worker in live:
            worker.kill()
        self._judges.shutdown(cancel_futures=True)
        self._starter.shutdown(cancel_futures=True)

    def judge(self, gold: str, predicted: str, timeout: float | None = None) -> Verdict:
        """Judge one pair, in ``timeout`` seconds where given. Raises GppoError where the pool is closed."""
        return self._judge_plain(gold, predicted) or self._judge_in_worker(gold, predicted, timeout)

    def judge_many(self, pairs: Iterable[tuple[str, str]]) -> list[Verdict]:
        """Judge pairs side by side; verdicts in the order of the pairs."""
        return list(self.imap(pairs))

    def imap(self, pairs: Iterable[tuple[str, str] | Verdict]) -> Iterator[Verdict]:
        """Judge a stream of pairs; verdicts in order, each as soon as those before it are there.

        A verdict in the stream keeps its place. At most 16 pairs per worker are under way, so the stream may be
        endless.
        """
        waiting: deque[Verdict | Future[Verdict]] = deque()
        try:
            for pair in pairs:
                waiting.append(pair if isinstance(pair, Verdict) else self._judge_plain(*pair) or self._submit(*pair))
                while waiting and (_is_done(waiting[0]) or len(waiting) > 16 * self._workers):
                    yield _result(waiting.popleft())
            while waiting:
                yield _result(waiting.popleft())
        finally:
            for left in waiting:
                if isinstance(left, Future):
                    left.cancel()

    def _submit(self, gold: str, predicted: str) -> Future[Verdict]:
        with self._lock:
            self._check_usable()
            return self._judges.submit(self._judge_in_worker, gold, predicted)

    def _judge_plain(self, gold: str, predicted: str) -> Verdict | None:
        """What needs no computer algebra is decided here: bounded, and far quicker than a message."""
        self._check_usable()
        start = time.perf_counter()
        known = self._known.get((gold, predicted))
        if known:
            return _verdict(predicted, *known, time.perf_counter() - start)
        if len(predicted) > MAX_ANSWER_CHARS:
            return Verdict("unparsable", 0.0, predicted[:100] + "...", "answer too long")
        if len(gold) > MAX_ANSWER_CHARS:
            return Verdict("wrong", 0.0, predicted, "reference too long to equal this answer")
        decided = compare_plain(gold, predicted)
        if decided is None:
            return None
        self._remember(gold, predicted, decided)
        return _verdict(predicted, *decided, time.perf_counter() - start)

    def _remember(self, gold: str, predicted: str, decided: tuple[bool, str]) -> None:
        """Keep what depends on the pair alone; a time limit depends on the machine too."""
        if len(gold) + len(predicted) > _KNOWN_CHARS:
            return
        with self._lock:
            self._known[gold, predicted] = decided
            if len(self._known) > _KNOWN_PAIRS:
                self._known.popitem(last=False)

    def _judge_in_worker(self, gold: str, predicted: str, timeout: float | None = None) -> Verdict:
        how = ""
        for _ in range(ATTEMPTS):
            idle = self._idle.get()
            worker: WorkerProcess | None = None
            kept: WorkerProcess | Future[WorkerProcess] | None = None
            start = time.perf_counter()
            try:
                worker = idle if isinstance(idle, WorkerProcess) else self._start(idle)
                start = time.perf_counter()  # neither waiting for a worker nor its start counts
                reply = worker.ask(gold, predicted, timeout or self.timeout)
                if reply["rule"] == MEMORY_LIMIT:  # after that one its heap is not to be trusted
                    kept = self._spawn()
                else:
                    kept = worker
                    self._remember(gold, predicted, (reply["equal"], reply["rule"]))
                return _verdict(predicted, reply["equal"], reply["rule"], time.perf_counter() - start)
            except TimeoutError:
                seconds = time.perf_counter() - start
                kept = self._spawn()  # the next answer should not wait for it
                return Verdict("timeout", 0.0, predicted, "time limit", seconds)
            except AnswerKilledWorkerError:
                seconds = time.perf_counter() - start
                kept = self._spawn()
                return Verdict("unparsable", 0.0, predicted, MEMORY_LIMIT, seconds)
            except (WorkerDiedError, ValueError) as error:  # ValueError: a frame that is none
                how = str(error)
                self._check_usable()
            finally:
                if worker is not None and kept is not worker:
                    self._discard(worker)
                self._idle.put(kept)
        return Verdict("infra", 0.0, predicted, how, time.perf_counter() - start)

    def _spawn(self) -> Future[WorkerProcess]:
        with self._lock:
            self._check_usable()
            return self._starter.submit(self._spawn_now)

    def _spawn_now(self) -> WorkerProcess:
        worker = WorkerProcess.spawn(self._memory_limit)
        with self._lock:
            self._live.add(worker)
            closed = self._closed
        if closed:
            self._discard(worker)
            raise WorkerDiedError("the pool was closed")
        return worker

    def _start(self, started: Future[WorkerProcess] | None) -> WorkerProcess:
        try:
            worker = (started or self._spawn()).result()
        except OSError as error:
            raise WorkerDiedError(f"a worker could not start: {error}") from error
        except CancelledError:
            raise GppoError(_CLOSED) from None
        try:
            worker.await_ready()
        except BaseException:  # Ctrl-C too
            self._discard(worker)
            raise
        return worker

    def _discard(self, worker: WorkerProcess) -> None:
        with self._lock:
            self._live.discard(worker)
        worker.kill()

    def _check_usable(self) -> None:
        if self._closed:
            raise GppoError(_CLOSED)
        if os.getpid() != self._owner:
            raise GppoError("A judge pool works only in the process that made it; make one in each process.")


def _verdict(predicted: str, equal: bool, rule: str, seconds: float) -> Verdict:
    if equal:
        return Verdict("correct", 1.0, predicted, rule, seconds)
    unparsable = rule.startswith((UNREADABLE, NOT_COMPARABLE, MEMORY_LIMIT))
    return Verdict("unparsable" if unparsable else "wrong", 0.0, predicted, rule, seconds)


def _is_done(item: Verdict | Future[Verdict]) -> bool:
    return isinstance(item, Verdict) or item.done()


def _result(item: Verdict | Future[Verdict]) -> Verdict:
    if isinstance(item, Verdict):
        return item
    try:
        return item.result()
    except CancelledError:
        raise GppoError(_CLOSED) from None
