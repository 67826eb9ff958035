import subprocess
import sys

import pytest

from gppo.types import GppoError, UserError, Verdict
from gppo.verify import compute_score, math_reward, rewards

RIGHT, WRONG = r"<think>hm</think>\boxed{4}", r"<think>\boxed{4}</think>\boxed{5}"


def test_trl_with_texts():
    found = math_reward(["2+2?", "2+2?"], [RIGHT, WRONG], completion_ids=[[1], [2]], solution=["4", r"\boxed{4}"])
    assert found == [1.0, -1.0]


def test_trl_with_chats():
    prompts = [[{"role": "user", "content": "2+2?"}]] * 2
    completions = [[{"role": "assistant", "content": said}] for said in (RIGHT, WRONG)]
    assert math_reward(prompts=prompts, completions=completions, answer=[4, 4], trainer_state=None) == [1.0, -1.0]


def test_trl_when_the_prompt_opened_the_thinking():
    prompts = ["2+2?<think>\n"] * 2
    assert math_reward(prompts, [r"\boxed{4}", r"so</think>\boxed{4}"], ground_truth=["4"] * 2) == [-1.0, 1.0]


def test_trl_without_references_is_the_datas_fault():
    with pytest.raises(UserError, match="needs a column solution, answer, ground_truth"):
        math_reward(["?"], ["4"], question=["?"])


def test_verl():
    score = compute_score("math", RIGHT, "4", {"split": "train"})
    assert score == {"score": 1.0, "acc": 1.0, "pred": "4", "rule": "same text"}
    score = compute_score(data_source="math", solution_str="4", ground_truth="4", extra_info=None, reward_router=None)
    assert score == {"score": -1.0, "acc": 0.0, "pred": "", "rule": "no boxed answer"}
    assert compute_score("math", r"\boxed{4}", "4", {"prompt_opened": True})["score"] == -1.0


def test_a_judge_that_failed_is_no_wrong_answer(monkeypatch):
    monkeypatch.setattr(rewards, "verify", lambda *_, **__: Verdict("infra", 0.0, rule="a worker could not start"))
    assert math_reward(["?"], [RIGHT], answer=["4"]) == [None]
    with pytest.raises(GppoError, match="a worker could not start"):
        compute_score("math", RIGHT, "4")


def test_neither_trl_nor_verl_nor_torch_is_imported():
    program = """
import sys
from gppo.verify import compute_score, math_reward
assert math_reward(["?"], ["\\\\boxed{4}"], answer=["4"]) == [1.0]
assert compute_score("math", "\\\\boxed{4}", "4")["acc"] == 1.0
print([name for name in ("torch", "transformers", "trl", "verl", "sympy") if name in sys.modules])
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.strip() == "[]"
