"""``gppo verify math``: judge a file of responses."""

import json
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gppo.types import UserError, Verdict
from gppo.types.files import json_line
from gppo.types.verdict import STATUSES
from gppo.verify._going_on import kept_records, write_line
from gppo.verify.judge import MathJudge
from gppo.verify.pool import TIMEOUT

QUARANTINED = "quarantined"
_KEYS = ("id", "verdict", "extracted", "seconds", "rule")


class _Quarantine:
    """Lines that could not be read, with line number and reason. The file exists only where there are any."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None
        self.count = 0
        path.unlink(missing_ok=True)  # an earlier run's

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, line_number: int, reason: str, line: bytes) -> None:
        if self._file is None:
            self._file = self._path.open("w", encoding="utf-8")
        text = line.decode(errors="replace").rstrip("\r\n")
        self._file.write(json.dumps({"line": line_number, "reason": reason, "text": text}) + "\n")
        self.count += 1


def verify_math_file(
    in_path: Path,
    out_path: Path,
    workers: int = 1,
    timeout: float = TIMEOUT,
    progress: bool = True,
    *,
    fresh: bool = False,
    lenient: bool = False,
) -> dict[str, int]:
    """Judge every line of a JSONL file, in order, streaming.

    Args:
        in_path: lines ``{"id", "gold", "response"}``; further keys are ignored, blank lines skipped.
        out_path: lines ``{"id", "verdict", "extracted", "seconds", "rule"}``. Lines that cannot be read go to
            ``<out_path>.quarantine.jsonl`` with line number and reason. Where the file exists already, what it holds is
            kept and the rest is added.
        workers: worker processes.
        timeout: seconds for one answer.
        progress: show a bar on standard error.
        fresh: throw away an existing output.
        lenient: as in ``MathJudge``.

    Returns the number of lines for each verdict, of "quarantined" ones, and how many were "kept" from an earlier call.
    """
    in_path, out_path = Path(in_path), Path(out_path)
    quarantine_path = out_path.with_name(out_path.name + ".quarantine.jsonl")
    if in_path.resolve() in (out_path.resolve(), quarantine_path.resolve()):
        raise UserError(f"{out_path} would overwrite the input {in_path}; choose another output file.")
    counts: Counter[str] = Counter()
    with ExitStack() as stack:
        try:
            source = stack.enter_context(in_path.open("rb"))
            out_path.parent.mkdir(parents=True, exist_ok=True)
            quarantine = stack.enter_context(_Quarantine(quarantine_path))
            old = stack.enter_context(out_path.open("w+b" if fresh or not out_path.exists() else "r+b"))
            out = stack.enter_context(out_path.open("r+b", buffering=0))
        except OSError as error:
            raise UserError(f"Cannot open {error.filename}: {error.strerror}; check the path.") from error
        bar = stack.enter_context(_bar(progress))
        task = bar.add_task("", total=source.seek(0, os.SEEK_END), rate="")
        source.seek(0)
        rows = _rows(source, quarantine, lambda size: bar.update(task, advance=size))
        end = 0
        for record, size in kept_records(old, out_path, _KEYS, (row[0] for row in rows)):
            counts[record["verdict"]] += 1
            end += size
        kept = sum(counts.values())
        out.truncate(end)
        out.seek(end)
        judge = stack.enter_context(MathJudge(workers, timeout, lenient=lenient))
        start = time.perf_counter()
        for done, (record_id, verdict) in enumerate(_judge_rows(rows, judge), 1):
            counts[verdict.status] += 1
            write_line(out, out_path, json_line(_record(record_id, verdict)))
            bar.update(task, rate=f"{done / (time.perf_counter() - start):.0f}/s")
    return {status: counts[status] for status in STATUSES} | {QUARANTINED: quarantine.count, "kept": kept}


def _bar(shown: bool) -> Progress:
    columns = (TextColumn("verify math"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"))
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not shown)


def _judge_rows(rows: Iterator[tuple[str | int, str, str]], judge: MathJudge) -> Iterator[tuple[str | int, Verdict]]:
    ids: deque[str | int] = deque()  # of the rows under way

    def pairs() -> Iterator[tuple[str, str]]:
        for record_id, gold, response in rows:
            ids.append(record_id)
            yield gold, response

    for verdict in judge.imap(pairs()):
        yield ids.popleft(), verdict


def _rows(
    source: BinaryIO, quarantine: _Quarantine, on_read: Callable[[int], None]
) -> Iterator[tuple[str | int, str, str]]:
    """(id, gold, response) of every line that can be read."""
    for number, line in enumerate(source, 1):
        on_read(len(line))
        if line.strip():
            try:
                yield _read(line)
            except ValueError as error:
                quarantine.add(number, str(error), line)


def _read(line: bytes) -> tuple[str | int, str, str]:
    try:
        record = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    if not isinstance(record, dict):
        raise ValueError("not a JSON object")
    for key in ("id", "gold", "response"):
        if key not in record:
            raise ValueError(f"no {key!r}")
    gold = record["gold"]
    if isinstance(gold, int | float) and not isinstance(gold, bool):
        gold = str(gold)
    if not isinstance(record["id"], str | int):
        raise ValueError("'id' is neither a string nor a whole number")
    if not isinstance(gold, str) or not gold.strip():
        raise ValueError("'gold' is not a text or a number")
    if not isinstance(record["response"], str):
        raise ValueError("'response' is not a text")
    return record["id"], gold, record["response"]


def _record(record_id: str | int, verdict: Verdict) -> dict[str, Any]:
    return {
        "id": record_id,
        "verdict": verdict.status,
        "extracted": verdict.extracted,
        "seconds": round(verdict.seconds, 6),
        "rule": verdict.rule,
    }
