"""Which wrong answers go: planted ones among right ones in many spellings, in math and in code."""

import json
import random

import pytest
from step_rows import bench, changes, conversation, problem, removed, replaced, rows

from gppo.config import CorrectnessConfig
from gppo.miniature.code_world import code_problems
from gppo.types import UserError

RIGHT = {
    "42": ["42", "42.0", r"\text{42}", "x = 42", r"\frac{84}{2}"],
    r"\frac{3}{4}": ["0.75", "3/4", r"\dfrac34", r"\frac{6}{8}"],
    r"2\sqrt{3}": [r"\sqrt{12}", r"2 \sqrt 3", r"\frac{6}{\sqrt{3}}"],
    "(1,2)": ["(1, 2)", r"\left(1,2\right)"],
    r"x^2+2x+1": ["(x+1)^2", "1+2x+x^2"],
}
WRONG = {
    "42": ["41", "-42", "420", "4.2"],
    r"\frac{3}{4}": ["0.7", "4/3", r"-\frac{3}{4}"],
    r"2\sqrt{3}": [r"\sqrt{6}", "3.4", r"3\sqrt{2}"],
    "(1,2)": ["(2,1)", "(1,2,3)"],
    r"x^2+2x+1": ["(x-1)^2", "x^2+2x"],
}


def boxed(answer: str) -> str:
    return f"<think>so it must be</think>The answer is \\boxed{{{answer}}}."


def step(tmp_path, records, kind="conversations", **options):
    return changes(CorrectnessConfig(step="correctness", **options), rows(records), bench(tmp_path, kind))


def test_planted_wrong_answers_are_found_and_no_right_one_is(tmp_path):
    rng = random.Random(4)
    records, planted = [], set()
    for i in range(400):
        gold = rng.choice(list(RIGHT))
        wrong = rng.random() < 0.3
        answer = rng.choice((WRONG if wrong else RIGHT)[gold])
        records.append(conversation(f"r{i}", f"question {i}", boxed(answer), ground_truth=gold))
        planted |= {f"r{i}"} if wrong else set()
    found = removed(step(tmp_path, records, policy="only_true"))
    assert len(planted) > 80
    assert set(found) == planted  # recall and precision are 100 %
    assert set(found.values()) == {"wrong answer"}


def test_programs_are_judged_by_their_tests(tmp_path):
    records, planted = [], set()
    for i, task in enumerate(code_problems(3, 6)):
        tests = {"inputs": list(task.inputs), "outputs": list(task.outputs), "fn_name": "f"}
        source = task.misconception if i % 3 == 0 else task.solution
        planted |= {task.id} if i % 3 == 0 else set()
        response = f"<think>hm</think>```python\n{source}\n```"
        records.append(conversation(task.id, task.statement, response, tests=json.dumps(tests)))
    records.append(
        conversation(
            "no fence",
            "f?",
            "<think>hm</think>def f(): pass",
            tests={"inputs": ["1"], "outputs": ["1"], "fn_name": "f"},
        )
    )
    found = removed(step(tmp_path, records, policy="only_true", reference="tests"))
    assert set(found) == {*planted, "no fence"}


LABELLED = [
    conversation("easy right", "q1", boxed("1"), ground_truth="1", hardness="easy"),
    conversation("easy wrong", "q2", boxed("2"), ground_truth="1", hardness="easy"),
    conversation("hard right", "q3", boxed("1"), ground_truth="1", hardness="hard"),
    conversation("hard wrong", "q4", boxed("2"), ground_truth="1", hardness="hard"),
    conversation("open", "q5", "<think>\\boxed{1}", ground_truth="1", hardness="easy"),
    conversation("hard open", "q5", "<think>\\boxed{1}", ground_truth="1", hardness="hard"),
    conversation("cut", "q5", boxed("1"), ground_truth="1", hardness="easy", finish_reason="length"),
    conversation("unlabelled wrong", "q6", boxed("2"), ground_truth="1"),
    conversation("no reference", "q7", boxed("2"), hardness="easy"),
    conversation("hard, no reference", "q8", boxed("2"), hardness="hard"),
]


def test_the_papers_policy_keeps_wrong_answers_to_hard_problems(tmp_path):
    assert removed(step(tmp_path, LABELLED)) == {
        "easy wrong": "wrong answer",
        "open": "wrong answer",
        "cut": "wrong answer",
        "unlabelled wrong": "wrong answer",
        "no reference": "no reference answer",
    }


def test_only_true_keeps_what_is_known_to_be_right(tmp_path):
    gone = removed(step(tmp_path, LABELLED, policy="only_true"))
    assert {r.id for r in LABELLED} - set(gone) == {"easy right", "hard right"}


def test_mixed_keeps_all_and_says_what_is_right(tmp_path):
    found = step(tmp_path, LABELLED, policy="mixed")
    assert removed(found) == {}
    labels = {name: record.extra["verdict"] for name, record in replaced(found).items()}
    assert labels == {
        "easy right": "correct",
        "easy wrong": "wrong",
        "hard right": "correct",
        "hard wrong": "wrong",
        "open": "unparsable",
        "cut": "unparsable",
        "hard open": "unparsable",
        "unlabelled wrong": "wrong",
        "no reference": "unknown",
        "hard, no reference": "unknown",
    }


def test_the_reason_can_be_read(tmp_path):
    (change,) = step(tmp_path, LABELLED[1:2])
    assert change.reason == "“2” is not the reference answer (1)"


def test_a_failure_of_the_judge_is_no_wrong_answer(tmp_path):
    """Verdicts that an earlier start left say what a judge said that failed three times."""
    at = bench(tmp_path, "conversations")
    at.folder.mkdir(parents=True)
    (at.folder / "verdicts.jsonl").write_text('[0,["infra",""]]\n[1,["wrong","5"]]\n[2,["corr')
    found = changes(CorrectnessConfig(step="correctness", policy="only_true"), rows(LABELLED[:3]), at)
    assert removed(found) == {"easy wrong": "wrong answer"}  # row 2 was judged again: its line was cut short
    assert "“5”" in found[0].reason  # and row 1 was not
    assert at.notes == ["1 answers could not be judged and stay"]
    assert (at.folder / "verdicts.jsonl").read_text().splitlines()[2] == '[2, ["correct", "1"]]'


def test_problems_teach_no_answers(tmp_path):
    with pytest.raises(UserError, match="is for conversations"):
        step(tmp_path, [problem("1", "a")], kind="problems")
