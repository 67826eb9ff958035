"""A benchmark's problems, from the hub or from a file of its rows."""

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from gppo.config.benchmarks import BENCHMARKS, Benchmark
from gppo.evaluate.benchmarks.livecodebench import livecodebench_problem
from gppo.evaluate.benchmarks.programs import humaneval_problem, mbpp_problem
from gppo.evaluate.benchmarks.questions import math_problem
from gppo.records import iter_rows
from gppo.records.hub import hub_files
from gppo.records.quarantine import BadRowError
from gppo.types import Problem, UserError

_PROBLEM_OF: dict[str, Callable[[Mapping[str, Any], Benchmark, str], Problem]] = {
    "math": math_problem,
    "livecodebench": livecodebench_problem,
    "humaneval": humaneval_problem,
    "mbpp": mbpp_problem,
}


def load_benchmark(name: str, data: Path | None = None, limit: int | None = None) -> list[Problem]:
    """The problems of a benchmark, in the order of its rows.

    Args:
        name: a key of ``BENCHMARKS``.
        data: a file of its rows (.jsonl, .jsonl.gz, .json with a list, .parquet), or a folder of such files, instead of
            the hub's.
        limit: only the first so many problems.

    Raises:
        UserError: the hub cannot be reached; a file is missing or damaged; a row has not what a problem needs, two have
            one id, or none is left. Nothing is left out in silence: a benchmark with a hole is another benchmark.
    """
    benchmark = BENCHMARKS[name]
    convert = _PROBLEM_OF[benchmark.kind]
    problems: dict[str, Problem] = {}
    for place, row in _rows(name, benchmark, data):
        if limit is not None and len(problems) == limit:
            break
        try:
            if not _in_window(row, benchmark):
                continue
            problem = convert(row, benchmark, f"{name}/{len(problems)}")
        except BadRowError as error:
            raise UserError(f"{place}: no row of {name}: {error}; give the benchmark's own file") from error
        if problem.id in problems:
            raise UserError(f"{place}: a second problem '{problem.id}' of {name}; remove one of the two")
        problems[problem.id] = problem
    if not problems:
        raise UserError(f"{data or benchmark.hub}: no problems of {name} in it{_window_said(benchmark)}")
    return list(problems.values())


def _rows(name: str, benchmark: Benchmark, data: Path | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(where it stands, row) of every row."""
    if data is None:
        advice = f"give its rows as a file: {{benchmark: {name}, data: FILE}}"
        files = hub_files(benchmark.hub, benchmark.revision, benchmark.files, advice)
    elif data.is_dir():
        patterns = [pattern.rpartition("/")[2] for pattern in benchmark.files]
        files = [path for path in sorted(data.rglob("*")) if any(fnmatch(path.name, one) for one in patterns)]
        if not files:
            raise UserError(f"{data}: no file here is called {' or '.join(patterns)}; name the file of {name}")
    else:
        files = [data]
    for path in files:
        for number, row in rows_of(path):
            yield f"{path}, row {number}", row


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number from 1, row) of a records file, or of a .json file that holds a list of objects.

    Raises:
        UserError: the file is missing, damaged or of another kind.
    """
    if path.suffix.lower() != ".json" or not path.is_file():
        yield from iter_rows(path)
        return
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not JSON that can be read ({error}); fetch the file again") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{path}: not a list of objects; give JSONL, Parquet or a JSON list")
    yield from enumerate(rows, start=1)


def _in_window(row: Mapping[str, Any], benchmark: Benchmark) -> bool:
    if benchmark.since is None or benchmark.before is None:
        return True
    return benchmark.since <= _day(row.get("contest_date")) < benchmark.before


def _day(value: Any) -> date:
    try:
        return datetime.fromisoformat(str(value)).date()
    except ValueError as error:
        raise BadRowError(f"its contest_date is {value!r}, no date") from error


def _window_said(benchmark: Benchmark) -> str:
    if benchmark.since is None:
        return "; give the file that holds them"
    return f": its contests are those from {benchmark.since} and before {benchmark.before}"
