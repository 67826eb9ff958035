r"""Score outputs whose scores are known: the judge must agree with the labels, gold with itself, nothing with shuffles.

    python scripts/golden_evaluation.py DATA [--workers 2] [--limit 60]

DATA holds

- qwen_math_outputs/math_cot_100.jsonl, from github.com/QwenLM/Qwen2.5-Math: 800 outputs with their labels
- longcot_traces/deepseek-r1-distill-qwen-32b.json, from github.com/cvenhoff/steering-thinking-llms: 100 long
  thoughts with their answers
- klear_benchmarks/HMMT-202502.jsonl, from github.com/suu990901/KlearReasoner
- humaneval/HumanEval.jsonl.gz, mbpp/new_mbpp.json, mbpp/MbppPlus.jsonl.gz: reference programs with their tests
- leetcode/leetcode.json, from github.com/agentica-project/rllm: 200 reference programs
- livecodebench/stdin.json and func.json, from github.com/LiveCodeBench/LiveCodeBench: four programs, judged by the
  examples in their statements through rows as that benchmark publishes them

Everything goes the way of `gppo eval --from-outputs`. Prints a table and one JSON line; exit status 1 where a bar is
missed.
"""

import argparse
import base64
import gzip
import json
import pickle
import random
import re
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gppo.curate.suites import check_suite
from gppo.evaluate.benchmarks import load_benchmark, rows_of
from gppo.evaluate.outputs import Output, read_outputs
from gppo.evaluate.rescore import rescore
from gppo.evaluate.statistics import score
from gppo.types import Problem
from gppo.verify.cases import CaseJudge

THOUGHT = "<think>\nSome reasoning.\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class Case:
    """One golden run.

    Args:
        name: what is scored.
        outputs: the responses.
        bar: what must hold.
        measure: the number of it, from the score in [0, 1] and the share of labels that the judge agrees with.
        holds: whether the number clears the bar.
    """

    name: str
    outputs: list[Output]
    bar: str
    measure: Callable[[float, float], float]
    holds: Callable[[float], bool]


def _score(found: float, _: float) -> float:
    return found


def _agreement(_: float, agreed: float) -> float:
    return agreed


def labelled_math(data: Path) -> Case:
    outputs = read_outputs(data / "qwen_math_outputs" / "math_cot_100.jsonl")
    return Case("MATH outputs, labels of their file", outputs, ">= 99.5 % agree", _agreement, lambda x: x >= 0.995)


def long_thoughts(data: Path) -> Iterator[Case]:
    """Real thoughts, whole and cut before they end. The cut ones box their reference answer at the very end."""
    rows = [row["response"] for _, row in rows_of(data / "longcot_traces" / "deepseek-r1-distill-qwen-32b.json")]
    whole, cut = [], []
    for i, response in enumerate(rows):
        thought, _, answer = response.rpartition("</think>")
        boxed = re.findall(r"\\boxed\{([^{}]+)\}", answer)
        if boxed:
            whole.append(Output(_question(i, boxed[-1]), 0, response, 0, False, None))
        cut.append(Output(_question(i, "7"), 0, thought + "So it is $\\boxed{7}$.", 0, False, None))
    yield Case("long thoughts, what they box", whole, "100 %", _score, lambda x: x == 1)
    yield Case("long thoughts cut before they end", cut, "0 %", _score, lambda x: x == 0)


def _question(number: int, gold: str) -> Problem:
    return Problem(str(number), ({"role": "user", "content": ""},), "math", gold)


def hmmt(data: Path) -> Iterator[Case]:
    problems = load_benchmark("hmmt25", data / "klear_benchmarks" / "HMMT-202502.jsonl")
    golds = [problem.ground_truth for problem in problems]

    def answered(answers: list[str], form: str, times: int = 1, cut: bool = False) -> list[Output]:
        return [
            Output(problem, sample, form % answer, 0, cut, None)
            for problem, answer in zip(problems, answers, strict=True)
            for sample in range(times)
        ]

    done = THOUGHT + "The answer is $\\boxed{%s}$."
    yield Case("HMMT, gold answers", answered(golds, done, 4), "100 %", _score, lambda x: x == 1)
    shuffled = [
        Output(problem, turn, done % golds[(i + turn + 1) % len(golds)], 0, False, None)
        for turn in range(len(golds) - 1)
        for i, problem in enumerate(problems)
    ]
    yield Case("HMMT, every other problem's answer", shuffled, "<= 5 %", _score, lambda x: x <= 0.05)
    thinking = answered(golds, "<think>\nSo it must be $\\boxed{%s}$, but let me")
    yield Case("HMMT, gold answers in unfinished thoughts", thinking, "0 %", _score, lambda x: x == 0)
    cut = answered(golds, done, cut=True)
    yield Case("HMMT, gold answers cut at the limit", cut, "0 %", _score, lambda x: x == 0)


def _programs(name: str, pairs: list[tuple[Problem, str]], bar: float = 0.99) -> Case:
    outputs = [Output(p, 0, f"{THOUGHT}```python\n{source}\n```\n", 0, False, None) for p, source in pairs]
    return Case(f"{name}, reference programs", outputs, f">= {bar:.0%}", _score, lambda x: x >= bar)


def humaneval(data: Path) -> Case:
    path = data / "humaneval" / "HumanEval.jsonl.gz"
    rows = [row["prompt"] + row["canonical_solution"] for _, row in rows_of(path)]
    return _programs("HumanEval", list(zip(load_benchmark("humaneval", path), rows, strict=True)))


def mbpp(data: Path) -> Iterator[Case]:
    for name, file, column in (
        ("MBPP", "new_mbpp.json", "code"),
        ("MBPP plus", "MbppPlus.jsonl.gz", "canonical_solution"),
    ):
        path = data / "mbpp" / file
        sources = [row[column] for _, row in rows_of(path)]
        yield _programs(name, list(zip(load_benchmark("mbpp", path), sources, strict=True)))


def leetcode(data: Path) -> Case:
    pairs = []
    for i, row in rows_of(data / "leetcode" / "leetcode.json"):
        tests = check_suite(row["tests"]["functional"])
        problem = Problem(str(i), ({"role": "user", "content": row["problem"]},), "code", json.dumps(tests))
        pairs.append((problem, row["solutions"]))
    return _programs("LeetCode", pairs)


def livecodebench(data: Path, folder: Path) -> Case:
    """Four programs as raw rows: tests from the examples in their statements, the last of them private."""
    stdin = json.loads((data / "livecodebench" / "stdin.json").read_text(encoding="utf-8"))
    func = json.loads((data / "livecodebench" / "func.json").read_text(encoding="utf-8"))
    rows = [_raw(i, one["question"], _printed(one["question"]), "", {}) for i, one in enumerate(stdin)]
    for i, one in enumerate(func, start=len(stdin)):
        entry = re.search(r"def (\w+)", one["sample_code"])
        assert entry is not None
        rows.append(
            _raw(i, one["question"], _called(one["question"]), one["sample_code"], {"func_name": entry.group(1)})
        )
    path = folder / "test6.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    problems = load_benchmark("livecodebench-v6", path)
    return _programs("LiveCodeBench rows", list(zip(problems, [one["answer"] for one in stdin + func], strict=True)))


def _raw(number: int, question: str, tests: list[tuple[str, str]], starter: str, metadata: dict[str, str]) -> dict:
    cases = [{"input": given, "output": wanted, "testtype": "stdin"} for given, wanted in tests]
    assert cases, question
    private = base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases[-1:])))).decode()
    return {
        "question_content": question,
        "question_id": f"example{number}",
        "contest_date": "2025-02-01T00:00:00",
        "starter_code": starter,
        "difficulty": "easy",
        "public_test_cases": json.dumps(cases[:-1]),
        "private_test_cases": private,
        "metadata": json.dumps(metadata),
    }


def _printed(question: str) -> list[tuple[str, str]]:
    examples = re.split(r"Examples?[- ]*\n", question)[-1]
    found = re.findall(r"Input\s*\n(.*?)\nOutput\s*\n(.*?)(?=\n\s*Input|\n\s*-*\s*Note|\Z)", examples, re.DOTALL)
    return [(given.strip() + "\n", wanted.strip() + "\n") for given, wanted in found]


def _called(question: str) -> list[tuple[str, str]]:
    found = re.findall(r"Input: (.*)\nOutput: (.*)", question)
    return [("\n".join(re.findall(r"\w+ = (\[.*?\]|\".*?\"|[^,\n]+)", given)), wanted) for given, wanted in found]


def cases(data: Path, folder: Path) -> Iterator[Case]:
    """Every golden run."""
    yield labelled_math(data)
    yield from long_thoughts(data)
    yield from hmmt(data)
    yield humaneval(data)
    yield from mbpp(data)
    yield leetcode(data)
    yield livecodebench(data, folder)


def sampled(case: Case, limit: int | None) -> Case:
    """At most so many of a case's outputs, drawn by seed."""
    if limit is None or len(case.outputs) <= limit:
        return case
    kept = sorted(random.Random(0).sample(range(len(case.outputs)), limit))
    return Case(case.name, [case.outputs[i] for i in kept], case.bar, case.measure, case.holds)


def run(case: Case, judge: CaseJudge, folder: Path) -> tuple[float, bool]:
    """The case's number, and whether its bar is cleared."""
    found = rescore(case.outputs, judge, folder, name=case.name)
    agreed = found.agreed / found.labelled if found.labelled else 0.0
    number = case.measure(score(found.evaluation).avg, agreed)
    return number, case.holds(number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--limit", type=int, help="outputs of each run, drawn by seed; all where not given")
    args = parser.parse_args()
    table = Table("run", "outputs", "measured", "bar", "")
    numbers: dict[str, float] = {}
    kept = True
    with tempfile.TemporaryDirectory() as name, CaseJudge(args.workers, 5.0, tests_per_problem=None) as judge:
        folder = Path(name)
        for case in cases(args.data, folder):
            case = sampled(case, args.limit)
            number, held = run(case, judge, folder)
            kept &= held
            numbers[case.name] = number
            table.add_row(case.name, str(len(case.outputs)), f"{number:.2%}", case.bar, "ok" if held else "MISSED")
            for line in _wrong(folder, case):
                print(line)
    Console(width=120).print(table)
    print(json.dumps(numbers))
    sys.exit(0 if kept else 1)


def _wrong(folder: Path, case: Case) -> Iterator[str]:
    """Reference programs that did not pass, and why."""
    if "reference" not in case.name:
        return
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", case.name).strip("-.")
    for line in (folder / f"step-000000--{slug}.results.jsonl").read_text(encoding="utf-8").splitlines():
        result = json.loads(line)
        if not result["correct"]:
            yield f"{case.name}: {result['id']}: {result['rule']}"


if __name__ == "__main__":
    main()
