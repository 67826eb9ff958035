import json

import pytest
from step_rows import bench, changes, problem, removed, rows

from gppo.config import MinTestsConfig, PassShareConfig
from gppo.miniature.code_world import code_problems, to_problem
from gppo.types import UserError


def code(name: str, tests: int):
    suite = {"inputs": [str(i) for i in range(tests)], "outputs": ["0"] * tests, "fn_name": "f"}
    return problem(name, "f?", json.dumps(suite), "code")


def test_too_few_tests(tmp_path):
    records = [
        code("15", 15),
        code("16", 16),
        code("40", 40),
        problem("math", "1+1=?"),
        problem("bad", "f", "[]", "code"),
    ]
    found = changes(MinTestsConfig(step="min_tests"), rows(records), bench(tmp_path))
    assert removed(found) == {"15": "too few tests", "bad": "unusable tests"}
    assert [change.reason for change in found] == [
        "15 tests",
        'its tests are not a JSON object; give {"inputs", "outputs", "fn_name"} or {"asserts", "names"}',
    ]


def share(tmp_path, records, **options):
    at = bench(tmp_path)
    return changes(PassShareConfig(step="pass_share", **options), rows(records), at), at


def boxed(answer):
    return f"<think>x</think>\\boxed{{{answer}}}"


def answered(name, right, wrong):
    texts = [boxed("0.5")] * right + [boxed("2")] * (wrong // 2) + ["<think>\\boxed{1/2}"] * (wrong - wrong // 2)
    return problem(name, "half?", r"\frac12", responses=texts)


def test_a_majority_of_the_responses_must_be_right(tmp_path):
    records = [
        answered("9", 9, 7),
        answered("8", 8, 8),
        answered("16", 16, 0),
        answered("0", 0, 16),
        problem("none", "?"),
    ]
    found, _ = share(tmp_path, records, responses="responses")
    assert removed(found) == {"8": "solved too seldom", "0": "solved too seldom", "none": "no responses"}
    assert found[0].reason == "50% of its responses are right (8 right, 0 not judged)"
    assert set(removed(share(tmp_path / "lower", records, responses="responses", above=0.4)[0])) == {"0", "none"}


def test_programs_are_run_against_the_tests(tmp_path):
    def fenced(source):
        return f"<think>x</think>```python\n{source}\n```"

    records = []
    for task, right in zip(code_problems(5, 2), (3, 2), strict=True):
        record = to_problem(task)
        texts = [fenced(task.solution)] * right + [fenced(task.misconception)] * (4 - right)
        records.append(problem(task.id, task.statement, record.ground_truth, "code", completions=texts))
    found, _ = share(tmp_path, records, responses="completions")
    assert removed(found) == {records[1].id: "solved too seldom"}


def test_a_share_that_is_given(tmp_path):
    records = [problem(str(i), "?", passed=passed) for i, passed in enumerate((0.5, 0.51, 1, 0.0))] + [
        problem("4", "?")
    ]
    found, _ = share(tmp_path, records, column="passed")
    assert removed(found) == {"0": "solved too seldom", "3": "solved too seldom", "4": "no responses"}
    with pytest.raises(UserError, match="record 0: 'passed' is 16"):
        share(tmp_path, [problem("0", "?", passed=16)], column="passed")


def test_what_the_judge_failed_on_does_not_count(tmp_path):
    at = bench(tmp_path)
    at.folder.mkdir(parents=True)
    statuses = [
        ["correct"] * 3 + ["wrong"] * 2 + ["infra"] * 11,
        ["infra"] * 16,
        ["correct", "wrong", "infra", "infra"],
    ]
    lines = "".join(f"{json.dumps([row, each])}\n" for row, each in enumerate(statuses))
    (at.folder / "verdicts.jsonl").write_text(lines)
    records = [answered(str(i), 1, 1) for i in range(3)]
    found = changes(PassShareConfig(step="pass_share", responses="responses"), rows(records), at)
    assert removed(found) == {"2": "solved too seldom"}  # a half of what was judged; three fifths for the first
    assert at.notes == ["1 could not be judged and stay"]


def test_responses_are_a_list_of_texts(tmp_path):
    with pytest.raises(UserError, match="record a: 'responses' is not a list of responses"):
        share(tmp_path, [problem("a", "?", responses="yes")], responses="responses")
