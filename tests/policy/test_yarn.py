"""A stretched context: the same numbers as transformers gives for the same configuration."""

import json
import time

import numpy as np
import pytest
import torch
from tiny_models import TOKENIZER, tiny_model
from transformers import AutoModelForCausalLM

from gppo.config import ModelConfig, TinyConfig, YarnConfig
from gppo.policy import Policy, load_policy
from gppo.policy.products import with_fast_products
from gppo.rollout import LocalSampler, Request
from gppo.types import SamplingSettings, UserError

YARN = YarnConfig(factor=2.5, original_max_position_embeddings=32)


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "model"
    Policy(tiny_model("Qwen3", max_position_embeddings=32), TOKENIZER).save(folder)
    return folder


def test_logits_equal_those_of_a_folder_that_says_so_itself(saved, tmp_path):
    stretched = load_policy(ModelConfig(path=str(saved), yarn=YARN), seed=0)
    assert stretched.max_context == 80
    config = json.loads((saved / "config.json").read_text())
    theta = config["rope_parameters"]["rope_theta"]
    config["max_position_embeddings"] = 80
    config["rope_parameters"] = {
        "rope_type": "yarn", "factor": 2.5, "original_max_position_embeddings": 32, "rope_theta": theta
    }  # fmt: skip
    (saved / "config.json").write_text(json.dumps(config))
    expected = AutoModelForCausalLM.from_pretrained(saved).eval()
    with_fast_products(expected)  # as a policy's products are made
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 78)))
    with torch.no_grad():
        found = stretched.model.eval()(input_ids=ids).logits
        assert torch.equal(found, expected(input_ids=ids).logits)
    stretched.save(tmp_path / "again")
    again = load_policy(ModelConfig(path=str(tmp_path / "again")), seed=0)
    with torch.no_grad():
        assert torch.equal(again.model.eval()(input_ids=ids).logits, found)


def test_it_changes_what_the_model_says(saved):
    plain = load_policy(ModelConfig(path=str(saved)), seed=0)
    stretched = load_policy(ModelConfig(path=str(saved), yarn=YARN), seed=0)
    assert plain.max_context == 32
    ids = torch.arange(30)[None]
    with torch.no_grad():
        difference = plain.model.eval()(input_ids=ids).logits - stretched.model.eval()(input_ids=ids).logits
    assert difference.abs().max() > 1e-2


def test_the_local_sampler_decodes_past_the_old_context(saved):
    policy = load_policy(ModelConfig(path=str(saved), yarn=YARN), seed=0)
    policy.model.generation_config.eos_token_id = None
    prompt = np.arange(10)
    [[rollout]] = LocalSampler(policy).generate(
        [Request("p", prompt, (0,))], SamplingSettings(temperature=0, max_tokens=70), seed=0, step=0
    )
    assert len(rollout.response_ids) > 40
    expected = policy.model.eval().generate(
        torch.from_numpy(prompt)[None], attention_mask=torch.ones(1, 10, dtype=torch.long), do_sample=False,
        max_new_tokens=len(rollout.response_ids),
    )  # fmt: skip
    assert rollout.response_ids.tolist() == expected[0, 10:].tolist()


def test_a_tiny_model_can_be_stretched_and_asked_for_no_more_than_that():
    tiny = {"tiny": TinyConfig(hidden_size=32, layers=1, heads=4, kv_heads=2), "tokenizer": "bytes"}
    policy = load_policy(ModelConfig(**tiny, yarn=YARN, max_context=64), seed=0)
    assert policy.max_context == 64
    assert policy.model.model.rotary_emb.rope_type == "yarn"
    with pytest.raises(UserError, match="more than the 80 positions"):
        load_policy(ModelConfig(**tiny, yarn=YARN, max_context=81), seed=0)


def test_an_unreachable_hub_is_said_at_once(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match="a hub id that can be reached"):
        load_policy(ModelConfig(path="nobody/has-this-model-here"), seed=0)
    tries = []
    monkeypatch.setattr(time, "sleep", tries.append)
    with pytest.raises(UserError):
        load_policy(ModelConfig(path="nobody/has-this-model-here"), seed=0)
    assert tries == []  # the hub's client would wait between its tries
