"""Judge the reference solutions of LeetCode, MBPP, MBPP+ and HumanEval by their own tests, as they are and altered.

    python scripts/judge_real_programs.py DATA [--limit 60] [--workers 2]

Nearly all references should pass; with the returned value altered none should. DATA holds

- leetcode/rllm_leetcode_train.json, from github.com/agentica-project/rllm
- mbpp/new_mbpp.json, from github.com/PRIME-RL/PRIME
- mbpp/MbppPlus.jsonl.gz, from github.com/evalplus/mbppplus_release
- humaneval/HumanEval.jsonl.gz, from github.com/openai/human-eval

Prints a table, and every reference that failed with the reason.
"""

import argparse
import ast
import gzip
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gppo.curate.suites import check_suite
from gppo.run import progress
from gppo.verify.code import AssertTests, CodeJudge, read_suite

#: Replaces a returned value by another of its kind, far from it; what a recursion returns to itself stays. Stands
#: after a program; {target} is the function.
ALTERED = """

def _altered(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value * 2 + 1000003
    if isinstance(value, complex):
        return value * 2 + 1000003
    if isinstance(value, str):
        return value + "~"
    if isinstance(value, (list, tuple)):
        return type(value)([*value, "~"])
    if isinstance(value, (set, frozenset)):
        return {{*value, "~"}}
    if isinstance(value, dict):
        return {{**value, "~": 1}}
    if hasattr(value, "next") and hasattr(value, "val"):
        return type(value)(1000003, value)
    if hasattr(value, "left") and hasattr(value, "val"):
        return type(value)(1000003, value)
    return "~" if value is None else None

def _alter(function):
    under_way = []

    def outer(*values, **named):
        under_way.append(1)
        try:
            value = function(*values, **named)
        finally:
            under_way.pop()
        return value if under_way else _altered(value)

    return outer

{target} = _alter({target})
"""


@dataclass(frozen=True, slots=True)
class RealProgram:
    """A reference solution with its tests; ``target`` is the function whose returned value the tests look at."""

    id: str
    source: str
    suite: AssertTests
    target: str

    @property
    def altered(self) -> str:
        """The program with another returned value."""
        return self.source + ALTERED.format(target=self.target)


def leetcode(data: Path) -> Iterator[RealProgram]:
    """1,889 ``Solution`` classes; each assert of ``check(candidate)`` is a test."""
    rows = json.loads((data / "leetcode" / "rllm_leetcode_train.json").read_text(encoding="utf-8"))
    for i, row in enumerate(rows):
        suite = read_suite(check_suite(row["tests"]["functional"]))
        assert isinstance(suite, AssertTests)
        yield RealProgram(f"leetcode/{i}", row["solutions"], suite, suite.names[0])


def mbpp(data: Path) -> Iterator[RealProgram]:
    """The sanitized half of MBPP; each assert is a test. They use the modules that the program imports."""
    rows = json.loads((data / "mbpp" / "new_mbpp.json").read_text(encoding="utf-8"))
    for row in rows:
        functions, imports = _functions(row["code"]), [*row["test_imports"], *_imports(row["code"])]
        called = _called(row["test_list"], functions)
        pieces = tuple("\n".join([*imports, piece]) for piece in row["test_list"])
        yield RealProgram(f"mbpp/{row['task_id']}", row["code"], AssertTests(called, pieces), called[0])


def mbpp_plus(data: Path) -> Iterator[RealProgram]:
    """The base tests of MBPP+ with its corrected solutions; each assert is a test."""
    for row in _gzipped(data / "mbpp" / "MbppPlus.jsonl.gz"):
        lines = ast.parse(row["assertion"]).body
        imports = [ast.unparse(line) for line in lines if not isinstance(line, ast.Assert)]
        imports += _imports(row["canonical_solution"])
        pieces = tuple("\n".join([*imports, ast.unparse(line)]) for line in lines if isinstance(line, ast.Assert))
        suite = AssertTests((row["entry_point"],), pieces)
        yield RealProgram(row["task_id"], row["canonical_solution"], suite, row["entry_point"])


def humaneval(data: Path) -> Iterator[RealProgram]:
    """HumanEval; a whole ``check`` is one test, as its loops and random inputs belong together."""
    for row in _gzipped(data / "humaneval" / "HumanEval.jsonl.gz"):
        source = row["prompt"] + row["canonical_solution"]
        called = _called([row["test"]], _functions(source) - {row["entry_point"]})
        piece = f"{row['test']}\ncheck({row['entry_point']})"
        suite = AssertTests((row["entry_point"], *called), (piece,))
        yield RealProgram(row["task_id"], source, suite, row["entry_point"])


SETS = {"leetcode": leetcode, "mbpp": mbpp, "mbpp+": mbpp_plus, "humaneval": humaneval}


def _gzipped(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _functions(source: str) -> set[str]:
    return {node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}


def _imports(source: str) -> list[str]:
    return [ast.unparse(node) for node in ast.parse(source).body if isinstance(node, ast.Import | ast.ImportFrom)]


def _called(tests: list[str], functions: set[str]) -> tuple[str, ...]:
    """The functions that tests name, in order of their first use."""
    nodes = [node for test in tests for node in ast.walk(ast.parse(test))]
    return tuple(dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name) and node.id in functions))


def sample(programs: list[RealProgram], limit: int | None, seed: int = 0) -> list[RealProgram]:
    """At most so many of the programs, by seed."""
    if limit is None or limit >= len(programs):
        return programs
    return random.Random(seed).sample(programs, limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder that holds the four sets")
    parser.add_argument("--limit", type=int, help="programs of each set, drawn by seed; all where not given")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    args = parser.parse_args()
    table = Table("set", "programs", "pass", "share", "altered pass", "altered tests pass", "tests/s")
    failures: list[str] = []
    with CodeJudge(args.workers) as judge:
        for name in args.sets:
            programs = sample(list(SETS[name](args.data)), args.limit, args.seed)
            start = time.perf_counter()
            found = []
            with progress(name, 2 * len(programs)) as bar:
                sources = [(source, program) for program in programs for source in (program.source, program.altered)]
                for source, program in sources:
                    found.append(judge.submit_program(source, program.suite))
                    bar.advance()
                verdicts = [future.result() for future in found]
            seconds = time.perf_counter() - start
            plain, altered = verdicts[0::2], verdicts[1::2]
            passed, fooled = sum(v.correct for v in plain), sum(v.correct for v in altered)
            share = sum(v.score for v in altered) / len(altered)
            rate = sum(len(v.cases) for v in verdicts) / seconds
            shares = f"{passed / len(plain):.2%}", str(fooled), f"{share:.2%}"
            table.add_row(name, str(len(programs)), str(passed), *shares, f"{rate:.0f}")
            failures += [f"{p.id}: {v.rule}" for p, v in zip(programs, plain, strict=True) if not v.correct]
            failures += [f"{p.id} altered: {v.rule}" for p, v in zip(programs, altered, strict=True) if v.correct]
    Console().print(table)
    print(*failures, sep="\n")
    sys.exit(1 if any("altered" in failure for failure in failures) else 0)


if __name__ == "__main__":
    main()
