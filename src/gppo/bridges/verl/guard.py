"""What a run of verl owes its command: to end with it, to tell what broke it, to wait for no CPUs that are missing."""

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from gppo.types import GppoError

PARENT = "GPPO_VERL_PARENT"
_LOOK = 2.0


def end_with_parent() -> None:
    """Where the variable names a process: ask this one to stop once that is no longer its parent."""
    parent = os.environ.get(PARENT)
    if parent is None:
        return

    def look() -> None:
        while os.getppid() == int(parent):
            time.sleep(_LOOK)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, name="end-with-parent", daemon=True).start()


@contextmanager
def told_reason(path: Path) -> Iterator[None]:
    """Write into ``path`` what breaks the body, in one line.

    The log cannot say it: Ray mixes the output of all its processes there, and what they print while they end comes
    after the error that ended them.
    """
    try:
        yield
    except Exception as error:
        first: BaseException = error
        while isinstance(cause := getattr(first, "cause", None), BaseException):
            first = cause  # Ray wraps what was raised in another process, once for each process between
        with suppress(OSError):  # a full disk may be what broke it
            path.write_text(f"{type(first).__name__}: {' '.join(str(first).split())}\n", encoding="utf-8")
        raise


def refuse_few_cpus(resources: Mapping[str, float], gpus: int, beside: int, more: int) -> None:
    """GppoError where Ray can never place verl's workers, for which verl would wait without end.

    Args:
        resources: of the whole cluster, as Ray names them.
        gpus: that the run takes.
        beside: CPUs that verl reserves beside each of them.
        more: CPUs of its other processes.
    """
    there, needed = resources.get("CPU", 0), gpus * beside + more
    if there < needed:
        raise GppoError(
            f"Ray has {there:g} CPUs, and verl reserves {needed}: {beside} beside each of {gpus} GPUs and {more} more; "
            "add machines, or start Ray with a larger --num-cpus"
        )
