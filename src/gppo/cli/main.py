"""``gppo``: its commands, and what a person sees when something goes wrong.

Commands import what they need when they run, so that ``gppo --help`` and ``gppo verify`` never load torch.
"""

import errno
import logging
import os
import signal
import sys
import time

import typer

from gppo.cli import building, judging, looking  # noqa: F401  (their commands join the app)
from gppo.cli.app import app
from gppo.types import GppoError, UserError

#: What typer raises for a command line that it cannot read; the class has no public name of its own.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__bases__[0]
#: Seconds that rank 0 has to say what is wrong before another rank does.
_RANK_0_FIRST = 5.0
#: A disk that is full, broken or not ours to write to: a sentence says it better than a traceback.
_NOT_OUR_FAULT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)


def main() -> None:
    """Run the command; exit with 0, 1, 2 or 130."""
    logging.basicConfig(level=logging.WARNING, format="note: %(message)s")
    stopped = 128 + signal.SIGINT
    try:
        status = app(standalone_mode=False, prog_name="gppo")
    except GppoError as error:
        _let_rank_0_say(error)
        _fail(str(error), error.exit_status)
    except _UsageError as error:
        _fail(_usage(error), UserError.exit_status)
    except (KeyboardInterrupt, typer.Abort):
        _fail("stopped", stopped)
    except OSError as error:
        if error.errno not in _NOT_OUR_FAULT:
            raise
        reason = (error.strerror or str(error)).lower()
        _fail(f"{error.filename or 'disk'}: {reason}; mend that and run the same command again", GppoError.exit_status)
    else:
        if status == stopped:  # typer turns Ctrl-C into this status without a word
            _fail("stopped", stopped)
        sys.exit(status if isinstance(status, int) else 0)


def _usage(error: typer.BadParameter) -> str:
    """What is wrong with the command line, in one sentence; "" where the help was printed instead."""
    message = error.format_message().rstrip(". ")
    command = error.ctx.command_path if error.ctx else "gppo"
    return message and f"{message}; see `{command} --help`"


def _let_rank_0_say(error: GppoError) -> None:
    """Of several ranks that find the same wrong, as in a recipe, rank 0 says it; torchrun then ends the others."""
    if int(os.environ.get("RANK", "0")):
        time.sleep(_RANK_0_FIRST)
        if error.on_all_ranks:
            sys.exit(error.exit_status)


def _fail(message: str, status: int) -> None:
    label = "error" if status in (UserError.exit_status, GppoError.exit_status) else "gppo"
    if message:
        typer.echo(f"{label}: {message}", err=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
