"""``gppo verify math``: judge a file of responses."""

import json
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from gppo.types import UserError, Verdict
from gppo.types.verdict import STATUSES
from gppo.verify.judge import MathJudge

QUARANTINED = "quarantined"


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
    in_path: Path, out_path: Path, workers: int = 1, timeout: float = 5.0, progress: bool = True
) -> dict[str, int]:
    """Judge every line of a JSONL file, in order, streaming.

    Args:
        in_path: lines ``{"id", "gold", "response"}``; further keys are ignored, blank lines skipped.
        out_path: lines ``{"id", "verdict", "extracted", "seconds"}``. Lines that cannot be read go to
            ``<out_path>.quarantine.jsonl`` with line number and reason.
        workers: worker processes.
        timeout: seconds for one answer.
        progress: show a bar on standard error.

    Returns the number of lines for each verdict, and for "quarantined".
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
            out = stack.enter_context(out_path.open("w", encoding="utf-8"))
        except OSError as error:
            raise UserError(f"Cannot open {error.filename}: {error.strerror}; check the path.") from error
        judge = stack.enter_context(MathJudge(workers, timeout))
        for record_id, verdict in _judge_lines(source, judge, quarantine, progress):
            counts[verdict.status] += 1
            out.write(json.dumps(_record(record_id, verdict)) + "\n")
    return {status: counts[status] for status in STATUSES} | {QUARANTINED: quarantine.count}


def _judge_lines(
    source: BinaryIO, judge: MathJudge, quarantine: _Quarantine, progress: bool
) -> Iterator[tuple[str | int, Verdict]]:
    columns = (TextColumn("verify math"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[rate]}"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task("", total=source.seek(0, os.SEEK_END), rate="")
        source.seek(0)
        ids: deque[str | int] = deque()  # of the lines under way

        def pairs() -> Iterator[tuple[str, str]]:
            for number, line in enumerate(source, 1):
                bar.update(task, advance=len(line))
                if not line.strip():
                    continue
                try:
                    record_id, gold, response = _read(line)
                except ValueError as error:
                    quarantine.add(number, str(error), line)
                    continue
                ids.append(record_id)
                yield gold, response

        start = time.perf_counter()
        for done, verdict in enumerate(judge.imap(pairs()), 1):
            bar.update(task, rate=f"{done / (time.perf_counter() - start):.0f}/s")
            yield ids.popleft(), verdict


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
    }
