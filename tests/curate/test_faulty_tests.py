"""Tests that right solutions contradict: planted ones are found and named, and no other test is."""

import json

import pytest
from step_rows import bench, changes, problem, removed, replaced, rows

from gppo.config import FaultyTestsConfig
from gppo.curate.contradictions import contradicted
from gppo.miniature.code_world import CodeProblem, code_problems, to_problem
from gppo.sandbox import Execution
from gppo.types import Problem, UserError
from gppo.verify.code import read_suite


def step(tmp_path, records, **options):
    at = bench(tmp_path)
    found = changes(FaultyTestsConfig(step="faulty_tests", **options), rows(records), at)
    named = at.ledger.with_suffix(".faulty-tests.jsonl").read_text().splitlines()
    return found, [json.loads(line) for line in named], at.notes


def with_solutions(task: CodeProblem, *solutions: str) -> Problem:
    record = to_problem(task)
    return problem(record.id, task.statement, record.ground_truth, "code", solutions=list(solutions))


def rewritten(task: CodeProblem) -> str:
    """The same function in other words."""
    return task.solution.replace("def f(", "def g(") + "\ndef f(*a): return g(*a)"


def test_planted_faults_are_found_with_one_wrong_solution_in_three(tmp_path):
    tasks = code_problems(7, 8, faulty_share=0.2)
    records = [with_solutions(task, task.misconception, task.solution, rewritten(task)) for task in tasks]
    found, named, notes = step(tmp_path, records, judge={"workers": 2})
    planted = {(task.id, at) for task in tasks for at in task.faulty_tests}
    assert len(planted) > 15
    assert {(line["id"], line["test"]) for line in named} == planted  # recall and precision are 100 %
    assert removed(found) == {}
    left = replaced(found)
    for task in tasks:
        whole = range(len(task.inputs))
        tests = json.loads(left[task.id].ground_truth if task.id in left else to_problem(task).ground_truth)
        assert tests["inputs"] == [task.inputs[i] for i in whole if i not in task.faulty_tests]
        assert tests["outputs"] == [task.outputs[i] for i in whole if i not in task.faulty_tests]
        assert tests["fn_name"] == "f"
    assert notes[0] == f"{len(planted)} faulty tests in {len(left)} problems"


ADD = {"inputs": ["1\n2", "3\n4", "5\n6"], "outputs": ["3", "8", "11"], "fn_name": "add"}
PLAIN = "def add(a, b): return a + b"
OTHER = "def add(a, b): return sum((a, b))"


def adding(*solutions, tests=ADD):
    return problem("sum", "add two numbers", json.dumps(tests), "code", solutions=list(solutions))


def test_the_test_its_input_and_what_solutions_give_are_named(tmp_path):
    found, named, _ = step(tmp_path, [adding(PLAIN, OTHER)], remove="problems")
    assert named == [
        {"id": "sum", "source": "here", "test": 1, "input": "3, 4", "expected": "8", "given": "7", "agree": 2, "of": 2}
    ]
    assert removed(found) == {"sum": "faulty tests"}
    assert found[0].reason == "test 1 expects “8”; 2 of 2 solutions give “7”"


@pytest.mark.parametrize(
    ("solutions", "why"),
    [
        ([PLAIN], "one witness is too few"),
        ([PLAIN, PLAIN, f"Like this:\n```python\n{PLAIN}```"], "copies are one witness"),
        ([PLAIN, "def add(a, b): return a + b + (a == 3) * 2"], "they contradict each other"),
        ([PLAIN, OTHER, "def add(a, b): return 8", "def add(a, b): return a + b + (a == 3)"], "no more than half"),
        (["def add(a, b): raise ValueError", "def add(a, b): 1/0", PLAIN], "an error is no answer"),
    ],
)
def test_what_proves_nothing(tmp_path, solutions, why):
    found, named, _ = step(tmp_path, [adding(*solutions)])
    assert (found, named) == ([], []), why


def test_one_witness_is_enough_where_that_is_asked_for(tmp_path):
    found, named, _ = step(tmp_path, [adding(PLAIN)], agree=1)
    assert [line["test"] for line in named] == [1]
    assert json.loads(replaced(found)["sum"].ground_truth)["outputs"] == ["3", "11"]


def test_standard_input_and_asserts(tmp_path):
    stdin = {"inputs": ["1 2\n", "3 4\n"], "outputs": ["3\n", "12\n"], "fn_name": None}
    prints = ["print(sum(map(int, input().split())))", "a, b = map(int, input().split())\nprint(a + b)"]
    asserts = {"asserts": ["assert add(1, 2) == 3", "assert add(2, 2) == 5"], "names": ["add"]}
    records = [adding(*prints, tests=stdin), adding(PLAIN, OTHER, tests=asserts)]
    found, named, _ = step(tmp_path, records)
    assert [(line["test"], line["expected"], line["given"]) for line in named] == [
        (1, "12", "7"),
        (1, "no failing assertion", "a failing assertion"),
    ]
    assert json.loads(found[0].record.ground_truth)["inputs"] == ["1 2\n"]
    assert json.loads(found[1].record.ground_truth) == {"asserts": ["assert add(1, 2) == 3"], "names": ["add"]}


def test_where_every_test_is_faulty_the_problem_goes(tmp_path):
    tests = {"inputs": ["1\n2"], "outputs": ["4"], "fn_name": "add"}
    assert removed(step(tmp_path, [adding(PLAIN, OTHER, tests=tests)])[0]) == {"sum": "faulty tests"}


@pytest.mark.parametrize(
    ("ends", "named"),
    [
        (("infra", "ok", "ok"), [(2, 2)]),
        (("infra", "infra", "ok"), []),
        (("timeout", "ok", "ok"), [(2, 3)]),
        (("timeout", "error", "ok", "ok"), []),  # no more than half
        (("memory", "timeout", "error"), []),
    ],
)
def test_a_failure_of_the_sandbox_is_no_evidence(ends, named):
    runs = [[Execution(status, value=7 if status == "ok" else None)] for status in ends]
    found = contradicted(read_suite({"inputs": ["3\n4"], "outputs": ["8"], "fn_name": "add"}), runs, agree=2)
    assert [(each.agree, each.of) for each in found] == named


def test_tests_that_cannot_be_read_are_said(tmp_path):
    with pytest.raises(UserError, match="problem sum: its tests are not JSON"):
        step(tmp_path, [problem("sum", "add", "{", "code", solutions=[PLAIN, OTHER])])
