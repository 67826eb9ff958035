"""verl's process ends with the command that started it, even where that was killed."""

import os
import signal
import threading
import time

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
