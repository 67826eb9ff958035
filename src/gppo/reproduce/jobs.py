"""Work in processes of its own, some at a time: each begins clean, ends alone, and can be stopped."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

from gppo.run.interrupt import Interrupted, stop_requests
from gppo.types import GppoError

#: Imported once by the server that every process is forked from: torch and transformers take seconds.
_PRELOADED = ["gppo.reproduce.work"]
_LOOK_EVERY = 0.5  # seconds between looks at whether a signal has come


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    Args:
        name: for progress and errors.
        work: a function of a module, called in a process of its own.
        argument: what it is given; pickled.
        log: where that process writes what it would print.
    """

    name: str
    work: Callable[[Any], None]
    argument: Any
    log: Path


def run_jobs(jobs: Sequence[Job], at_once: int, on_done: Callable[[Job], None]) -> None:
    """Do all of the work, in order, ``at_once`` at a time.

    Raises:
        GppoError: a piece of work failed, or its process died; those beside it were stopped.
        Interrupted: a signal asked to stop. Work that can save its state has done so.
    """
    context = _context()
    waiting, running = list(jobs), dict[int, tuple[Job, ForkServerProcess, Connection]]()
    try:
        with stop_requests() as stop:
            while waiting or running:
                while waiting and len(running) < at_once and not stop:
                    job = waiting.pop(0)
                    process, told = _begin(context, job)
                    running[process.sentinel] = (job, process, told)
                ended = wait(list(running), timeout=_LOOK_EVERY)
                if stop:
                    raise Interrupted("stopped; run the same command again to go on", stop.signum or signal.SIGINT)
                for sentinel in ended:
                    job, process, told = running.pop(int(sentinel))  # type: ignore[arg-type]
                    _refuse_failure(job, process, told)
                    on_done(job)
    finally:
        for _, process, _ in running.values():
            process.terminate()  # SIGTERM: training saves a checkpoint
        for _, process, _ in running.values():
            process.join()


def _context() -> ForkServerContext:
    """Of processes forked from a server that a signal to the whole group does not end: it tells of their ends."""
    context = get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # inherited by what is started
    try:
        ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return context


def _begin(context: Any, job: Job) -> tuple[ForkServerProcess, Connection]:
    told, tell = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(job, tell), name=job.name)
    process.start()
    tell.close()  # the child's end: once it is gone too, nothing more can come
    return process, told


def _child(job: Job, tell: Connection) -> None:
    job.log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(descriptor, number)
    logging.basicConfig(level=logging.WARNING, format="note: %(message)s", stream=sys.stderr)
    # A signal to the whole group is heard by whoever started this process, and one from there asks it to stop. Both
    # would be two, and the second ends training before its checkpoint is written.
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        job.work(job.argument)
    except GppoError as error:
        tell.send(str(error))
        sys.exit(error.exit_status)
    except BaseException as error:
        traceback.print_exc()
        tell.send(f"{type(error).__name__}: {error} (more in {job.log})")
        sys.exit(1)


def _refuse_failure(job: Job, process: ForkServerProcess, told: Connection) -> None:
    process.join()
    if process.exitcode == 0:
        return
    try:
        why = told.recv()
    except EOFError:
        why = f"its process ended with {process.exitcode} (a negative number is a signal; 9 is often a lack of memory)"
    raise GppoError(f"{job.name}: {why}; what is finished is kept: run the same command again to go on")
