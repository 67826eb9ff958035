"""The kinds of errors that a person sees as one sentence, never as a traceback."""


class GppoError(Exception):
    """Something failed while working (exit status 1): a diverged run, a full disk.

    Attributes:
        on_all_ranks: whether all of several processes raise it together, so that one needs to say it.
    """

    exit_status = 1
    on_all_ranks = False


class Diverged(GppoError):
    """Training went where nothing is finite any more."""


class UserError(GppoError):
    """The input is at fault (exit status 2). The message says what, where, and what to do."""

    exit_status = 2
