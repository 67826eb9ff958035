"""The reward manager as verl's workers call it, without Ray: real judges, verl's own data type."""

import asyncio
import json

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed here; make test-verl makes an environment for it")

import torch
from omegaconf import OmegaConf
from verl import DataProto

from gppo.bridges.verl.rewards import GppoRewardManager
from gppo.config import OverlongConfig, RewardConfig
from gppo.policy import byte_tokenizer
from gppo.types import UserError

TOKENIZER = byte_tokenizer()
END = TOKENIZER.eos_token_id
SUITE = json.dumps({"inputs": ["1", "2", "3", "4"], "outputs": ["1", "2", "3", "4"], "fn_name": None})


@pytest.fixture(scope="module")
def manager():
    settings = {
        "seed": 0,
        "reward": RewardConfig().model_dump(),
        "overlong": OverlongConfig(soft_buffer=100, soft_penalty=0.4).model_dump(),
    }
    config = OmegaConf.create({"gppo": settings, "data": {"max_response_length": 200}})
    return GppoRewardManager(config, TOKENIZER)


def judged(manager, response, *, ability="math", truth="7", ended=True, prompt="2 + 5?"):
    ids = [*TOKENIZER.encode(response, add_special_tokens=False), *([END] if ended else [])]
    prompt_ids = TOKENIZER.encode(prompt, add_special_tokens=False)
    data = DataProto.from_dict(
        tensors={
            "prompts": torch.tensor([prompt_ids]),
            "responses": torch.tensor([ids]),
            "attention_mask": torch.ones(1, len(prompt_ids) + len(ids), dtype=torch.long),
        },
        non_tensors={
            "ability": np.array([ability], dtype=object),
            "reward_model": np.array([{"style": "rule", "ground_truth": truth}], dtype=object),
            "extra_info": np.array([{"id": "p"}], dtype=object),
            "data_source": np.array(["x"], dtype=object),
        },
    )
    # verl calls from a running loop; the manager keeps none of its own.
    result = asyncio.new_event_loop().run_until_complete(manager.run_single(data))
    return result["reward_score"], result["reward_extra_info"]


def program(body):
    return f"<think>x</think>```python\n{body}\n```"


@pytest.mark.parametrize(
    ("response", "more", "score", "correct"),
    [
        (r"<think>x</think>\boxed{7}", {}, 1.0, 1.0),
        (r"<think>x</think>\boxed{8}", {}, -1.0, 0.0),
        (r"\boxed{7}", {}, -1.5, 0.0),  # without its think tags
        (r"<think>x</think>seven", {}, -1.5, 0.0),  # without a box
        (r"x</think>\boxed{7}", {"prompt": "2 + 5?<think>"}, 1.0, 1.0),
        (program("print(input())"), {"ability": "code", "truth": SUITE}, 1.0, 1.0),
        (program("print(min(int(input()), 1))"), {"ability": "code", "truth": SUITE}, 0.25, 0.0),
        (program("import os; os._exit(0)"), {"ability": "code", "truth": SUITE}, 0.0, 0.0),
        # 150 tokens with the stop token, 50 into the buffer of 100: half of the penalty
        (r"<think>" + "x" * 138 + r"</think>\boxed{7}", {}, 0.8, 1.0),
        # cut at the limit: the task's lowest, and the whole penalty
        (r"<think>x</think>\boxed{7}" + " " * 188, {"ended": False}, -1.4, 0.0),
    ],
)
def test_rewards_are_those_of_our_own_engine(manager, response, more, score, correct):
    found, extra = judged(manager, response, **more)
    assert found == pytest.approx(score)
    assert extra["acc"] == correct


def test_what_cannot_be_judged_has_no_reward(manager):
    with pytest.raises(UserError, match="cannot be judged"):
        judged(manager, program("print(1)"), ability="code", truth="{}")
