"""The entries of one large JSON array, one at a time: the file is never held whole."""

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gppo.records.quarantine import Quarantine
from gppo.types import UserError

_CHUNK = 1 << 20
_SPACE = " \t\r\n"


def first_sign(path: Path) -> str:
    """The first character of the file that is no white space; "" where there is none."""
    with path.open("rb") as file:
        return file.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()[:1].decode("ascii", "replace")


def array_rows(path: Path, quarantine: Quarantine | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream (number, object) from a file that holds one JSON array; numbers start at 1.

    Args:
        path: UTF-8.
        quarantine: takes entries that are no objects; without one such an entry is a UserError.

    Raises:
        UserError: the file is no JSON from some entry on. What follows a broken entry cannot be told apart, so nothing
            after it is read.
    """
    decoder = json.JSONDecoder(parse_constant=lambda _: None)  # as for JSONL: NaN stands for a missing value
    number = 0
    with _Text(path) as text:
        text.expect("[", number)
        while text.sign(number) != "]":
            if number:
                text.expect(",", number)
            number += 1
            row = text.value(decoder, number)
            if isinstance(row, dict):
                yield number, row
                continue
            reason = f"a {type(row).__name__}, not an object; make every entry of the array an object in braces"
            if quarantine is None:
                raise UserError(f"{path}: entry {number}: {reason}")
            quarantine.add(number, reason, json.dumps(row).encode())


class _Text:
    """A window on the file that grows while a value does not end in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self._window = ""
        self._at = 0
        self._ended = False

    def __enter__(self) -> "_Text":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def sign(self, number: int) -> str:
        """The next character that is no white space, left where it is."""
        while True:
            while self._at < len(self._window) and self._window[self._at] in _SPACE:
                self._at += 1
            if self._at < len(self._window):
                return self._window[self._at]
            if self._ended:
                raise self._broken(number, "the array does not end; fetch the file again")
            self._more(number)

    def expect(self, sign: str, number: int) -> None:
        """Pass one character."""
        found = self.sign(number)
        if found != sign:
            raise self._broken(
                number, f"'{found}' stands where '{sign}' should; mend it, or put one object on each line"
            )
        self._at += 1

    def value(self, decoder: json.JSONDecoder, number: int) -> Any:
        """The next value."""
        self.sign(number)
        while True:
            try:
                value, end = decoder.raw_decode(self._window, self._at)
            except (ValueError, RecursionError) as error:
                if self._ended or isinstance(error, RecursionError):
                    raise self._broken(
                        number, f"not JSON ({error}); mend it, or put one object on each line"
                    ) from error
            else:
                # A number at the window's end may go on behind it.
                if end < len(self._window) or self._ended:
                    self._at = end
                    return value
            self._more(number)

    def _more(self, number: int) -> None:
        # Twice the window, so that a value of many megabytes is not begun anew for each of them.
        chunk = self._file.read(max(_CHUNK, len(self._window) - self._at))
        self._ended = not chunk
        try:
            self._window = self._window[self._at :] + self._decode(chunk, final=self._ended)
        except UnicodeDecodeError as error:
            raise self._broken(number, "not UTF-8; save the file as UTF-8") from error
        self._at = 0

    def _broken(self, number: int, reason: str) -> UserError:
        return UserError(f"{self._path}: damaged after entry {number}: {reason}")
