"""Wrong answers and faulty tests, planted in the demo's sources for curation to find, and whether it found them.

What is planted is known here without the judges that look for it: sums are added up, and faulty tests stand behind the
problem's own.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gppo.curate import CurateResult
from gppo.miniature.code_world import CodeProblem, to_problem
from gppo.miniature.math_world import chain_problems, chain_terms
from gppo.miniature.planted import Found
from gppo.miniature.teachers import Teacher
from gppo.records import Conversation, iter_rows, read_conversations, read_problems
from gppo.types import Message, Problem

WRONG, FAULTY = "wrong answer", "faulty tests"
_TESTS = 16  # of a problem before any is planted
_WITH_SOLUTIONS = 50  # problems; running the solutions of all would take the demo minutes
_CAREFUL, _CARELESS = Teacher("careful copyist"), Teacher("careless copyist", slip=0.7)


def copybook(seed: int, count: int, levels: Sequence[int]) -> list[Conversation]:
    """Solutions with their reference answers; a third is careless. Two in three are to problems that are easy."""
    rng = np.random.default_rng([seed, 15])
    rows = []
    for i, problem in enumerate(chain_problems(seed * 10 + 5, count, levels, unique=False)):
        copyist = _CARELESS if rng.random() < 1 / 3 else _CAREFUL
        answer: Message = {"role": "assistant", "content": copyist.solve(problem, rng)}
        pass_rate = 0.9 if rng.random() < 2 / 3 else 0.1
        extra = {"ground_truth": problem.ground_truth, "pass_rate": pass_rate, "terms": list(chain_terms(problem))}
        rows.append(Conversation(f"copy-{i}", (*problem.prompt, answer), "copybook", extra))
    return rows


def with_faulty_tests(seed: int, problems: Sequence[CodeProblem]) -> list[Problem]:
    """The problems; some bring two solutions, and half of those one to three tests more, which expect something wrong.

    Without those tests they are what they were.
    """
    rng = np.random.default_rng([seed, 14])
    records = [to_problem(problem) for problem in problems]
    for number, at in enumerate(rng.permutation(len(problems))[:_WITH_SOLUTIONS]):
        problem, tests = problems[at], json.loads(records[at].ground_truth)
        for again in rng.choice(_TESTS, size=rng.integers(1, 4), replace=False) if number % 2 else ():
            tests["inputs"].append(problem.inputs[again])
            tests["outputs"].append(_spoiled(problem.outputs[again]))
        head, _, value = problem.solution.partition(": return ")
        solutions = [problem.solution, f"{head}:\n    found = {value}\n    return found"]
        extra = {**records[at].extra, "solutions": solutions}
        records[at] = replace(records[at], ground_truth=json.dumps(tests), extra=extra)
    return records


def found_faults(world: Path, results: Sequence[CurateResult]) -> list[Found]:
    """What curation found of both; by the paper's policy a wrong answer is looked for where the problem is easy."""
    of = {result.name: result for result in results}
    easy = [row for row in read_conversations(world / "copybook.jsonl") if row.extra["pass_rate"] > 0.5]
    wrong = {
        row.id for row in easy if not row.messages[-1]["content"].endswith(f"\\boxed{{{sum(row.extra['terms'])}}}")
    }
    ledgers = of["copybook"].spool.ledgers
    gone = {line["id"] for ledger in ledgers for line in ledger.removals() if line["rule"] == WRONG}
    found = [Found(WRONG, len(wrong), len(wrong & gone), len(gone))]
    named = list(of["RL code"].folder.glob("*.faulty-tests.jsonl"))
    if named:  # where programs can be run
        kata = {problem.id: json.loads(problem.ground_truth) for problem in read_problems(world / "kata.jsonl")}
        faulty = {(name, i) for name, tests in kata.items() for i in range(_TESTS, len(tests["inputs"]))}
        contradicted = {(row["id"], row["test"]) for _, row in iter_rows(named[0])}
        found.append(Found(FAULTY, len(faulty), len(faulty & contradicted), len(contradicted)))
    return found


def _spoiled(output: str) -> str:
    value = json.loads(output)
    return json.dumps([*value, 0] if isinstance(value, list) else value + 4)
