import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gppo.types import Problem, UserError
from gppo.verify import MathJudge, verify

DATA = Path(os.environ.get("GPPO_DATA", Path(__file__).parents[3] / "shared" / "data"))


def problem(ground_truth: str) -> Problem:
    return Problem(id="p", prompt=(), ability="math", ground_truth=ground_truth)


@pytest.fixture(scope="module")
def judge():
    with MathJudge(workers=2) as judge:
        yield judge


def test_the_responses_to_one_problem(judge):
    responses = [
        r"\boxed{4}",
        r"<think>\boxed{4}</think>\boxed{5}",
        r"<think>\boxed{5}</think>\boxed{4}",
        r"<think>so \boxed{4}",
        "4",
        r"\boxed{41}. Wait, \boxed{4}",
        r"\boxed{}",
        r"\boxed{\sqrt{8}\sqrt{2}}",
    ]
    verdicts = judge.judge(problem("4"), responses)
    assert [verdict.status for verdict in verdicts] == [
        "correct", "wrong", "correct", "unparsable", "unparsable", "correct", "unparsable", "correct",
    ]  # fmt: skip
    assert [verdict.score for verdict in verdicts] == [1, 0, 1, 0, 0, 1, 0, 1]
    assert [verdict.extracted for verdict in verdicts[:5]] == ["4", "5", "4", None, None]
    assert (verdicts[3].rule, verdicts[4].rule) == ("thinking not closed", "no boxed answer")


def test_thinking_that_the_prompt_opened(judge):
    responses = [r"\boxed{4}", r"so</think>\boxed{4}"]
    statuses = [verdict.status for verdict in judge.judge(problem("4"), responses, prompt_opened=True)]
    assert statuses == ["unparsable", "correct"]


def test_many_problems_in_order(judge):
    pairs = [(problem(f"x+{i}"), rf"\boxed{{{i + i % 2}+x}}") for i in range(20)]
    assert [verdict.correct for verdict in judge.judge_many(pairs)] == [i % 2 == 0 for i in range(20)]


def test_a_boxed_reference(judge):
    assert judge.judge(problem(r"So the answer is \[ \boxed{4} \]"), [r"\boxed{4}"])[0].correct


def test_an_empty_reference_is_the_datas_fault(judge):
    with pytest.raises(UserError, match="Problem 'p' has an empty ground_truth"):
        judge.judge(problem(" "), [r"\boxed{4}"])


def test_verify_one():
    assert verify("1/2", r"\boxed{0.5}").correct
    assert verify("x+1", r"\boxed{1+x}").correct
    assert verify("1", r"\boxed{9^{9^{9^{9}}}}", timeout=1.0).status == "timeout"
    assert verify("4", r"\boxed{4}", prompt_opened=True).status == "unparsable"


def test_judging_loads_neither_torch_nor_computer_algebra():
    program = """
import sys
from gppo.verify import verify
assert verify("1/2", "\\\\boxed{0.5}").correct
print([name for name in ("torch", "transformers", "sympy", "math_verify") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.strip() == "[]"


def test_agrees_with_the_labels_of_real_outputs(judge):
    path = DATA / "qwen_math_outputs" / "math_cot_100.jsonl"
    if not path.exists():
        pytest.skip(f"needs real model outputs at {path} (set GPPO_DATA)")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [(problem(record["gt"]), output) for record in records for output in record["code"]]
    labels = [label for record in records for label in record["score"]]
    verdicts = judge.judge_many(pairs)
    differing = [
        (pair[0].ground_truth, verdict.extracted, verdict.rule)
        for pair, verdict, label in zip(pairs, verdicts, labels, strict=True)
        if verdict.correct != label
    ]
    assert len(labels) == 800
    # The label of 10000 against 10{,}000 is wrong.
    assert differing == [("10{,}000", "10000", "same text")]
