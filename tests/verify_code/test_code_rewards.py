import json
import subprocess
import sys

import pytest

from gppo.types import UserError, Verdict
from gppo.verify.code import code_reward, rewards

TESTS = json.dumps({"inputs": ["2\n", "3\n", "4\n"], "outputs": ["4", "6", "8"]})
DOUBLED = "```python\nprint(2 * int(input()))\n```"
SQUARED = "<think>hm</think>```python\nprint(int(input()) ** 2)\n```"


def test_the_share_of_tests_passed(isolation: None):
    found = code_reward(["?"] * 3, [DOUBLED, SQUARED, "no program"], completion_ids=[[1]] * 3, tests=[TESTS] * 3)
    assert found == [1.0, pytest.approx(1 / 3), 0.0]


def test_chats_and_parsed_tests(isolation: None):
    prompts = [[{"role": "user", "content": "double it"}]]
    completions = [[{"role": "assistant", "content": DOUBLED}]]
    assert code_reward(prompts, completions, ground_truth=[json.loads(TESTS)], trainer_state=None) == [1.0]


def test_thinking_that_the_prompt_opened_must_be_closed(isolation: None):
    found = code_reward(["?<think>\n"] * 2, [DOUBLED, f"so</think>{DOUBLED}"], tests=[TESTS] * 2)
    assert found == [0.0, 1.0]


def test_members_of_a_group_meet_the_same_tests(isolation: None):
    # 40 tests, of which 16 are run: right for odd inputs only, so the share tells which were chosen.
    tests = json.dumps({"inputs": [f"{i}\n" for i in range(40)], "outputs": [str(i % 2) for i in range(40)]})
    one = "```python\nint(input()); print(1)\n```"
    same = "```python\n# another text\nint(input()); print(1)\n```"
    first, second = code_reward(["?"] * 2, [one, same], tests=[tests] * 2)
    assert first == second
    assert 0 < first < 1


def test_a_sandbox_that_failed_is_no_wrong_answer(isolation: None, monkeypatch: pytest.MonkeyPatch):
    class Failing:
        def submit(self, *_: object) -> "Failing":
            return self

        def result(self) -> Verdict:
            return Verdict("infra", 0.0)

    monkeypatch.setattr(rewards, "_shared_judge", Failing)
    assert code_reward(["?"], [DOUBLED], tests=[TESTS]) == [None]


def test_without_tests_it_is_the_datas_fault():
    with pytest.raises(UserError, match="needs a column tests or ground_truth"):
        code_reward(["?"], [DOUBLED], answer=["4"])


def test_no_trainer_is_imported():
    program = """
import sys
from gppo.verify.code import code_reward
print([name for name in ("torch", "transformers", "trl") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert run.stdout.strip() == "[]"
