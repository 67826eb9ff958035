"""Small programs for experiments on the reward and on the tests: a coach's traces, problems for RL, and an exam.

Only problems with a condition ("items greater than 3") are taken: they are one short grammar, which a model that trains
within a minute writes with few slips, so that most of what it gets wrong is what the coach taught it.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gppo.miniature.code_world import CodeProblem, code_problems, results_of, to_problem
from gppo.miniature.teachers import programmed
from gppo.records import Conversation, write_conversations, write_problems
from gppo.types import Message, Problem

FAMILIES = ("count", "filter and add", "change each", "add or subtract", "two numbers")
EXAM, TESTS, TRACES = 48, 8, 3  # problems; tests a problem; times that the coach solves each problem
_POOL = 1338  # problems of every family, as many as the smallest difficulty allows

#: Share of problems with faulty tests. Of the 5,000 training problems of APPS 15.8 % have no known solution that passes
#: all tests (https://huggingface.co/datasets/likaixin/APPS-verified): the first; the second is a larger dose.
FAULTY, VERY_FAULTY = 0.16, 0.5
_SPOILED = 0.25  # chance of a test, where single tests are faulty
#: How often the strong model, whose responses the filter goes by, reads a problem of each difficulty right.
_STRONG = {1: 0.9, 2: 0.8, 3: 0.7}
_RESPONSES = 16


def write_programs(folder: Path, seed: int) -> None:
    """coach.jsonl, kata.jsonl and exam.jsonl: 9 in 10 of the coach's programs misread the condition.

    Problems have eight tests. A program that misreads the condition as the coach does passes four of them.
    """
    _write(folder, seed, _problems(seed))


def write_faulty_programs(folder: Path, seed: int) -> None:
    """The same, and some-faulty.jsonl and half-faulty.jsonl beside kata.jsonl: its problems, some with faulty tests.

    Each of them brings ``pass_share``, the share of a strong model's 16 programs that pass all of its tests. Nobody
    knows what the faulty tests of real sets are like, so there are two kinds, and chance decides which a problem has:
    single tests, a quarter of them, expect a number that is off; or every output comes from a program that misreads the
    problem. No program passes all of the first; only one that misreads the problem passes all of the second.
    """
    problems = _problems(seed)
    _write(folder, seed, problems)
    for name, share in (("some-faulty", FAULTY), ("half-faulty", VERY_FAULTY)):
        write_problems(folder / f"{name}.jsonl", _with_faults(seed, problems[EXAM:], share))


def few_tests(problem: CodeProblem, tests: int) -> CodeProblem:
    """With the first tests only, of which the misconception still passes half: every test of a program costs time."""
    misread = results_of(problem.misconception, problem.inputs)
    passed = [i for i, output in enumerate(problem.outputs) if output == misread[i]]
    failed = [i for i, output in enumerate(problem.outputs) if output != misread[i]]
    kept = sorted(passed[: tests // 2] + failed[: tests - tests // 2])
    return replace(
        problem,
        inputs=tuple(problem.inputs[i] for i in kept),
        outputs=tuple(problem.outputs[i] for i in kept),
    )


def misjudged(problem: CodeProblem) -> CodeProblem:
    """With the outputs of a program that misreads the problem."""
    outputs = results_of(problem.misconception, problem.inputs)
    changed = tuple(i for i, output in enumerate(outputs) if output != problem.outputs[i])
    return replace(problem, outputs=outputs, faulty_tests=changed)


def spoiled(problem: CodeProblem, rng: np.random.Generator) -> CodeProblem:
    """With wrong outputs in a quarter of its tests on average, one at least: a number that is off by one to three."""
    faulty = rng.random(len(problem.outputs)) < _SPOILED
    faulty[rng.integers(len(faulty))] = True
    outputs = tuple(_off(output, rng) if bad else output for output, bad in zip(problem.outputs, faulty, strict=True))
    return replace(problem, outputs=outputs, faulty_tests=tuple(int(i) for i in np.flatnonzero(faulty)))


def _problems(seed: int) -> list[CodeProblem]:
    """The problems of this world; the first are the exam's."""
    return [few_tests(problem, TESTS) for problem in code_problems(seed, _POOL) if problem.family in FAMILIES]


def _write(folder: Path, seed: int, problems: Sequence[CodeProblem]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 31])
    write_problems(folder / "exam.jsonl", map(to_problem, problems[:EXAM]))
    write_problems(folder / "kata.jsonl", map(to_problem, problems[EXAM:]))
    write_conversations(folder / "coach.jsonl", _traces(problems[EXAM:], rng))


def _traces(problems: Sequence[CodeProblem], rng: np.random.Generator) -> Iterator[Conversation]:
    for again in range(TRACES):
        for problem in problems:
            answer: Message = {"role": "assistant", "content": programmed(problem, rng)}
            yield Conversation(f"coach-{again}-{problem.id}", (*to_problem(problem).prompt, answer), "coach")


def _with_faults(seed: int, problems: Sequence[CodeProblem], share: float) -> Iterator[Problem]:
    rng = np.random.default_rng([seed, 32])
    for problem in problems:
        faulty, kind, own = rng.random(), rng.random(), rng.spawn(1)[0]  # a larger share has the same faults, and more
        given = problem
        if faulty < share:
            given = misjudged(problem) if kind < 0.5 else spoiled(problem, own)
        record = to_problem(given)
        yield replace(record, extra={**record.extra, "pass_share": _pass_share(given, own)})


def _pass_share(problem: CodeProblem, rng: np.random.Generator) -> float:
    """Of the strong model's programs, how many pass all tests: it reads the problem right, or misreads it."""
    right = int(rng.binomial(_RESPONSES, _STRONG[problem.difficulty]))
    passed = 0
    for source, count in ((problem.solution, right), (problem.misconception, _RESPONSES - right)):
        passed += count * (results_of(source, problem.inputs) == problem.outputs)
    return passed / _RESPONSES


def _off(output: str, rng: np.random.Generator) -> str:
    value, by = json.loads(output), int(rng.choice((-3, -2, -1, 1, 2, 3)))
    if isinstance(value, list):
        at = int(rng.integers(len(value)))
        return json.dumps([*value[:at], value[at] + by, *value[at + 1 :]])
    return json.dumps(value + by)
