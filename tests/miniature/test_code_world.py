import json
import random
import re
from collections import Counter

import pytest

from gppo.miniature.code_world import CodeProblem, code_problems, to_problem
from gppo.types import UserError


def pass_rate(source: str, problem: CodeProblem) -> float:
    """Share of tests that a program passes; an exception fails the test. Written apart from the generator."""
    namespace: dict = {}
    exec(source, namespace)
    passed = 0
    for given, expected in zip(problem.inputs, problem.outputs, strict=True):
        try:
            passed += namespace["f"](*(json.loads(line) for line in given.split("\n"))) == json.loads(expected)
        except ZeroDivisionError:
            continue
    return passed / len(problem.inputs)


@pytest.fixture(scope="module")
def problems() -> list[CodeProblem]:
    return code_problems(0, 1338)


def test_statements_and_programs_fit_a_character_level_student(problems):
    for problem in problems:
        assert problem.statement.isascii()
        assert len(problem.statement) <= 70
        assert len(problem.solution) <= 80
        assert len(problem.misconception) <= 80
        assert "\n" not in problem.statement + problem.solution + problem.misconception


def test_every_solution_passes_and_every_misconception_passes_half(problems):
    for problem in problems:
        assert pass_rate(problem.solution, problem) == 1, problem
        assert pass_rate(problem.misconception, problem) == 0.5, problem


def test_no_two_problems_ask_the_same(problems):
    assert len({problem.statement for problem in problems}) == len(problems)
    assert len({problem.id for problem in problems}) == len(problems)


def test_tests_are_different_inputs_and_no_constant_passes_more_than_half(problems):
    for problem in problems:
        assert len(set(problem.inputs)) == len(problem.inputs) == len(problem.outputs) == 16
        assert Counter(problem.outputs).most_common(1)[0][1] <= 8, problem


def slips(source: str) -> set[str]:
    """Programs that differ in one place: a number off by one, or another operator."""
    head, _, body = source.partition("return ")
    swaps = {"+": "-", "-": "+", "*": "+", "//": "%", "%": "//", "min": "max", "max": "min", ">": "<", "<": ">"}
    found = set()
    for match in re.finditer(r"\d+|//|min|max|[-+*%<>]", body):
        token = match[0]
        others = (str(int(token) + 1), str(int(token) - 1)) if token.isdigit() else (swaps[token],)
        found |= {f"{head}return {body[: match.start()]}{other}{body[match.end() :]}" for other in others}
    return found


def test_one_slip_is_seen_and_mostly_passes_some_tests(problems):
    rates = []
    for problem in random.Random(0).sample(problems, 100):
        for slip in slips(problem.solution):
            try:
                compile(slip, "slip", "exec")
            except SyntaxError:
                continue
            rates.append(pass_rate(slip, problem))
    assert len(rates) > 200
    assert sum(rate < 1 for rate in rates) / len(rates) > 0.97
    assert sum(0 < rate < 1 for rate in rates) / len(rates) > 0.7


def test_hand_checked_problem():
    by_statement = {problem.statement: problem for problem in code_problems(3, 478, difficulties=(1,))}
    problem = by_statement["f(n): n, but at most 13"]
    assert problem.solution == "def f(n): return min(n,13)"
    assert problem.misconception == "def f(n): return min(n,12)"
    assert problem.difficulty == 1
    for given, expected in zip(problem.inputs, problem.outputs, strict=True):
        assert int(expected) == (int(given) if int(given) < 13 else 13)


def test_the_same_seed_gives_the_same_problems_and_a_shorter_list_is_a_prefix():
    assert code_problems(7, 30)[:10] == code_problems(7, 10)
    assert code_problems(7, 10) != code_problems(8, 10)


def test_difficulties_come_in_turn():
    assert [problem.difficulty for problem in code_problems(0, 6)] == [1, 2, 3, 1, 2, 3]
    assert [problem.difficulty for problem in code_problems(0, 4, difficulties=(3, 1, 1))] == [3, 1, 1, 3]
    twice = code_problems(0, 30, difficulties=(3, 1, 1))
    assert len({problem.statement for problem in twice}) == 30


def test_a_condition_stands_in_every_problem_of_difficulty_three():
    for problem in code_problems(1, 60, difficulties=(3,)):
        assert " if " in problem.solution
        assert " else " in problem.solution


def test_more_tests_on_request():
    for problem in code_problems(0, 30, tests=20):
        assert len(problem.inputs) == 20
        assert pass_rate(problem.misconception, problem) == 0.5


def test_faulty_tests_are_flagged_and_are_exactly_those_that_the_solution_fails():
    problems = code_problems(0, 300, faulty_share=0.25)
    for clean, problem in zip(code_problems(0, 300), problems, strict=True):
        outputs = zip(clean.outputs, problem.outputs, strict=True)
        assert tuple(i for i, (right, given) in enumerate(outputs) if right != given) == problem.faulty_tests
        assert pass_rate(problem.solution, problem) == 1 - len(problem.faulty_tests) / 16
    share = sum(len(problem.faulty_tests) for problem in problems) / (16 * 300)
    assert 0.22 < share < 0.28  # standard error 0.006


def test_record_holds_the_tests_and_what_teachers_need():
    made = code_problems(0, 2, faulty_share=0.5)[1]
    record = to_problem(made)
    assert record.id == made.id
    assert record.ability == "code"
    assert record.prompt == ({"role": "user", "content": made.statement},)
    assert record.difficulty == "code 2"
    assert record.extra["solution"] == made.solution
    assert record.extra["misconception"] == made.misconception
    assert record.extra["faulty_tests"] == list(made.faulty_tests)
    tests = json.loads(record.ground_truth)
    assert tests == {"inputs": list(made.inputs), "outputs": list(made.outputs), "fn_name": "f"}


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ({"count": 479, "difficulties": (1,)}, "ask for at most 478"),
        ({"count": 1, "tests": 15}, "at least 16"),
        ({"count": 1, "difficulties": (4,)}, "choose some of 1, 2 and 3"),
        ({"count": 1, "difficulties": ()}, "choose some of 1, 2 and 3"),
    ],
)
def test_what_cannot_be_made_is_said(arguments, part):
    with pytest.raises(UserError, match=part):
        code_problems(0, **arguments)
