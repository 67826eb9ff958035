"""Where rows that cannot be used are set aside, each with its line and the reason."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from gppo.types import UserError
from gppo.types.files import atomic_file, full_disk_as_error, json_line

SUFFIX = ".quarantine.jsonl"


class BadRowError(Exception):
    """A row that cannot be used; its text is the reason and says what to fix."""


class Quarantine:
    """The rows of one data file that could not be used.

    A JSONL file with ``line`` (from 1; the row in Parquet), ``reason`` and ``row`` (or ``raw``, where the line is not
    a JSON object). It appears when the ``with`` block ends, whole. Where nothing was bad there is none, and an older
    one is removed.

    Args:
        path: where the bad rows go.

    Attributes:
        count: rows set aside since the block began.
        first: line and reason of the first of them, "" where there is none.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.count = 0
        self.first = ""
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._whole = True  # the file holds no half-written line

    @classmethod
    def beside(cls, data: str | Path) -> "Quarantine":
        """The usual place: ``<data>.quarantine.jsonl`` in the data's folder."""
        data = Path(data)
        return cls(data.with_name(data.name + SUFFIX))

    def __enter__(self) -> "Quarantine":
        self.count, self.first, self._whole = 0, "", True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._whole:
            # What was found so far is worth keeping when reading stopped early, so an error does not matter here.
            self._stack.close()
        else:
            self._stack.__exit__(kind, error, trace)
        self._file = None
        if kind is None and not self.count and self.path.name.endswith(SUFFIX):
            self.path.unlink(missing_ok=True)

    def add(self, line: int, reason: str, row: Any) -> None:
        """Set a row aside.

        Args:
            line: its number, from 1.
            reason: what is wrong, and what to do.
            row: the row, or the line as bytes where it is not a JSON object.
        """
        self.count += 1
        self.first = self.first or f"line {line}: {reason}"
        if self._file is None:
            self._file = self._open()
        key = "raw" if isinstance(row, bytes) else "row"
        self._whole = False
        with full_disk_as_error(self.path):
            self._file.write(json_line({"line": line, "reason": reason, key: row}))
        self._whole = True

    def _open(self) -> BinaryIO:
        try:
            return self._stack.enter_context(atomic_file(self.path))
        except UserError as error:
            reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else "not writable"
            raise UserError(
                f"{self.path}: bad rows cannot be set aside here ({reason}); name another quarantine file, or mend "
                f"{self.first}"
            ) from error
