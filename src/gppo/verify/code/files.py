"""``gppo verify code``: judge a file of programs, and go on where an earlier call stopped."""

import json
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from gppo.records.quarantine import Quarantine
from gppo.run.progress import Bar
from gppo.run.progress import progress as progress_bar
from gppo.sandbox import Limits
from gppo.types import UserError, Verdict
from gppo.types.files import json_line
from gppo.verify._going_on import kept_records, write_line
from gppo.verify.code.compare import Mode
from gppo.verify.code.extract import extract_code
from gppo.verify.code.judge import DEFAULT_LIMITS, CodeJudge
from gppo.verify.code.suite import BadTestsError, Suite, read_suite
from gppo.verify.thinking import split_thinking

_KEYS = ("id", "passed", "total", "reward", "cases")
_AHEAD = 8  # lines read ahead for each worker


@dataclass(frozen=True, slots=True)
class _Job:
    """One line of the input; ``source`` is None where the response holds no program."""

    id: str | int
    source: str | None
    suite: Suite
    limits: Limits


def verify_code_file(
    in_path: Path,
    out_path: Path,
    workers: int = 1,
    mode: Mode = "reward",
    limits: Limits = DEFAULT_LIMITS,
    progress: bool = True,
    *,
    fresh: bool = False,
) -> dict[str, int]:
    """Judge every line of a JSONL file, in order, streaming. Every test of a line is run.

    Args:
        in_path: lines ``{"id", "response" or "code", "tests", "limits"}``: a response whose last fenced block is
            judged, or a bare program; tests as ``read_suite`` takes them; limits may be left out, or override some of
            the argument's.
        out_path: lines ``{"id", "passed", "total", "reward", "cases"}``; the reward is the share passed, null where the
            sandbox failed. Where the file exists already, what it holds is kept and the rest is added: a call that was
            killed and started again ends with the file that one call would have written.
        workers: programs judged side by side.
        mode: "reward" or "lcb".
        limits: of one test.
        progress: show a bar on standard error.
        fresh: throw away an existing output.

    Lines that cannot be read go to ``<out_path>.quarantine.jsonl`` with line number and reason. A line without a
    program fails every test with CE.

    Returns the number of programs by how they ended (all tests "passed", "failed" at least one, "infra"), of
    "quarantined" lines, and how many were "kept" from an earlier call.
    """
    in_path, out_path = Path(in_path), Path(out_path)
    quarantine = Quarantine.beside(out_path)
    if in_path.resolve() in (out_path.resolve(), quarantine.path.resolve()):
        raise UserError(f"{out_path} would overwrite the input {in_path}; choose another output file.")
    endings: Counter[str] = Counter()
    with ExitStack() as stack:
        try:
            source = stack.enter_context(in_path.open("rb"))
            out_path.parent.mkdir(parents=True, exist_ok=True)
            old = stack.enter_context(out_path.open("w+b" if fresh or not out_path.exists() else "r+b"))
            out = stack.enter_context(out_path.open("r+b", buffering=0))
        except OSError as error:
            raise UserError(f"Cannot open {error.filename}: {error.strerror}; check the path.") from error
        stack.enter_context(quarantine)
        jobs = _read_jobs(source, quarantine, limits)
        end = 0
        for record, size in kept_records(old, out_path, _KEYS, (job.id for job in jobs)):
            endings[_ending(record)] += 1
            end += size
        kept = sum(endings.values())
        out.truncate(end)
        out.seek(end)
        bar = stack.enter_context(_bar(_count_lines(in_path), kept, progress))
        for record in _judge(jobs, workers, mode):
            endings[_ending(record)] += 1
            write_line(out, out_path, json_line(record))
            bar.advance(sum(endings.values()) + quarantine.count - bar.done)
    counts = {ending: endings[ending] for ending in ("passed", "failed", "infra")}
    return counts | {"quarantined": quarantine.count, "kept": kept}


def _judge(jobs: Iterator[_Job], workers: int, mode: Mode) -> Iterator[dict[str, Any]]:
    """The records of the jobs, in their order."""
    first = next(jobs, None)
    if first is None:
        return  # a sandbox need not start
    waiting: deque[tuple[_Job, Future[Verdict] | None]] = deque()
    with CodeJudge(workers, mode) as judge:
        for job in chain([first], jobs):
            future = None if job.source is None else judge.submit_program(job.source, job.suite, job.limits)
            waiting.append((job, future))
            while waiting and (_is_done(waiting[0][1]) or len(waiting) > _AHEAD * workers):
                yield _record(*waiting.popleft())
        while waiting:
            yield _record(*waiting.popleft())


def _is_done(future: "Future[Verdict] | None") -> bool:
    return future is None or future.done()


def _record(job: _Job, future: "Future[Verdict] | None") -> dict[str, Any]:
    cases = ("CE",) * len(job.suite) if future is None else future.result().cases
    passed = cases.count("PASS")
    reward = None if "INFRA" in cases else passed / len(cases)
    return dict(zip(_KEYS, (job.id, passed, len(cases), reward, cases), strict=True))


def _ending(record: dict[str, Any]) -> str:
    return "infra" if record["reward"] is None else "passed" if record["passed"] == record["total"] else "failed"


def _read_jobs(source: BinaryIO, quarantine: Quarantine, limits: Limits) -> Iterator[_Job]:
    for number, line in enumerate(source, 1):
        if not line.strip():
            continue
        row: Any = line
        try:
            row = _json_object(line)
            yield _read_job(row, limits)
        except (ValueError, BadTestsError) as error:
            reason = f"its tests {error}" if isinstance(error, BadTestsError) else str(error)
            quarantine.add(number, reason, row)


def _json_object(line: bytes) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deep") from None
    if not isinstance(row, dict):
        raise ValueError("not a JSON object")
    return row


def _read_job(row: dict[str, Any], limits: Limits) -> _Job:
    if not isinstance(row.get("id"), str | int):
        raise ValueError("no 'id' that is a text or a whole number")
    given = [key for key in ("code", "response") if row.get(key) is not None]
    if len(given) != 1 or not isinstance(row[given[0]], str):
        raise ValueError("not exactly one of 'code' and 'response', as a text")
    source: str | None = row[given[0]]
    if given == ["response"]:
        source = extract_code(split_thinking(row["response"]).answer)  # "" where the thinking is open
    if row.get("tests") is None:
        raise ValueError("no 'tests'")
    return _Job(row["id"], source, read_suite(row["tests"]), _read_limits(row.get("limits"), limits))


def _read_limits(given: Any, limits: Limits) -> Limits:
    known = {field.name: field.type for field in fields(Limits)}
    if given is None:
        return limits
    if not isinstance(given, dict) or not given.keys() <= known.keys():
        raise ValueError(f"'limits' has other keys than {', '.join(known)}")
    for key, value in given.items():
        whole = known[key] in (int, "int")
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not 0 < value < 1e9:
            raise ValueError(f"the limit {key!r} is not a {'whole ' if whole else ''}number above 0")
    return replace(limits, **given)


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _bar(total: int, done: int, shown: bool) -> AbstractContextManager[Bar]:
    if shown:
        return progress_bar("verify code", total, done=done)
    return nullcontext(Bar("verify code", total, done))
