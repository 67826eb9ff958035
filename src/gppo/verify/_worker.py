"""A worker process of ``JudgePool``: reads pairs of answers from a socket, and sends back whether they are equal.

Run as ``python -m gppo.verify._worker FD PARENT_PID MEMORY_BYTES``.
"""

import ctypes
import os
import signal
import socket
import sys

from gppo.verify._frames import HEADER_BYTES, body_bytes, read_body, send_frame
from gppo.verify.cascade import MEMORY_LIMIT, NOT_COMPARABLE, compare

_PR_SET_PDEATHSIG = 1


def judge_pair(gold: str, predicted: str) -> tuple[bool, str]:
    """``compare``, with everything that an answer can make it raise turned into a rule."""
    try:
        return compare(gold, predicted)
    except MemoryError:
        return False, MEMORY_LIMIT
    except RecursionError:
        return False, NOT_COMPARABLE + ": nested too deeply"
    except Exception as error:  # the libraries raise many kinds, and each is about this answer alone
        return False, f"{NOT_COMPARABLE}: {type(error).__name__}"


def main(arguments: list[str]) -> None:
    """Serve until the parent closes its end of the socket."""
    descriptor, parent, memory_bytes = (int(argument) for argument in arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _die_with(parent)
    _limit_memory(memory_bytes)
    connection = socket.socket(fileno=descriptor)
    # Loads sympy and the parser's tables, so that the first answer has its whole time.
    judge_pair(r"\sum_{k=1}^{2} k", "3")
    send_frame(connection, {"ready": True})
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # errors of the start were worth showing; what libraries say about answers is not
    with connection.makefile("rb") as stream:
        while header := stream.read(HEADER_BYTES):
            message = read_body(stream.read(body_bytes(header)))
            equal, rule = judge_pair(message["gold"], message["predicted"])
            send_frame(connection, {"equal": equal, "rule": rule})


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)


def _limit_memory(limit: int) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # other systems do not enforce it
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main(sys.argv[1:])
