"""The compiled step says what the plain one says, for any number of rows and columns, and is made once."""

import logging

import numpy as np
import pytest
import torch
from tiny_models import TOKENIZER, tiny_model
from torch._dynamo.utils import counters

from gppo.policy import Policy
from gppo.rollout import LocalSampler, Request
from gppo.types import SamplingSettings


def _policy(family: str, stops: int = 12, **options) -> Policy:
    model = tiny_model(family, **options).eval()
    model.generation_config.eos_token_id = [*range(stops), TOKENIZER.eos_token_id]
    return Policy(model, TOKENIZER)


def _requests(rows: int = 40) -> list[Request]:
    rng = np.random.default_rng(0)
    return [Request(f"{i}", rng.integers(0, 256, 1 + 7 * i % 30), (0, 1, 2, 3)) for i in range(rows // 4)]


def _sample(policy: Policy, compiled: bool, max_rows: int, settings: SamplingSettings):
    groups = LocalSampler(policy, max_rows, compiled).generate(_requests(), settings, seed=0, step=0)
    return [rollout for group in groups for rollout in group]


def _compare(policy: Policy, settings: SamplingSettings) -> None:
    plain = _sample(policy, False, 256, settings)
    before = counters["stats"]["unique_graphs"]
    for max_rows in (40, 11, 1):
        compiled = _sample(policy, True, max_rows, settings)
        for one, other in zip(plain, compiled, strict=True):
            assert one.response_ids.tolist() == other.response_ids.tolist()
            assert np.abs(one.sampled_logprobs - other.sampled_logprobs).max() < 1e-5
    assert counters["stats"]["unique_graphs"] - before <= 1  # rows, slots, columns and lengths may be any


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("Qwen3", {}),
        ("Qwen2", {}),
        ("Llama", {"attention_bias": True, "num_key_value_heads": 1}),
    ],
)
def test_compiled_steps_say_what_plain_ones_say(family, options):
    _compare(_policy(family, **options), SamplingSettings(max_tokens=60, temperature=0.9))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_p": 0.7, "top_k": 50}])
def test_so_they_do_where_the_draw_is_apart(settings):
    _compare(_policy("Qwen3"), SamplingSettings(max_tokens=40, **settings))


@pytest.mark.slow
def test_compiled_steps_see_an_update_at_once():
    policy = _policy("Qwen3", stops=0)
    sampler, settings = LocalSampler(policy, 40, True), SamplingSettings(max_tokens=10)
    before = sampler.generate(_requests(), settings, seed=0, step=0)
    with torch.no_grad():
        policy.model.model.layers[0].mlp.down_proj.weight.mul_(-3)
    after = sampler.generate(_requests(), settings, seed=0, step=0)
    assert before[0][0].response_ids.tolist() != after[0][0].response_ids.tolist()
    plain = LocalSampler(policy, 40, False).generate(_requests(), settings, seed=0, step=0)
    assert [r.response_ids.tolist() for g in after for r in g] == [r.response_ids.tolist() for g in plain for r in g]


def test_without_a_compiler_one_warning_and_plain_steps(caplog):
    policy = _policy("Qwen3", hidden_size=40, num_hidden_layers=1)  # a shape that no other test compiles
    settings = SamplingSettings(max_tokens=6)
    sampler = LocalSampler(policy, 40, True)
    no_compiler = torch._inductor.config.patch("cpp.cxx", ("/nonexistent/c++",))
    with caplog.at_level(logging.WARNING, "gppo.rollout"), no_compiler:
        groups = [sampler.generate(_requests(), settings, seed=0, step=0) for _ in range(2)]
    (record,) = [r for r in caplog.records if r.name.startswith("gppo")]
    assert "install a C++ compiler" in record.getMessage()
    assert "\n" not in record.getMessage()
    plain = LocalSampler(policy, 40, False).generate(_requests(), settings, seed=0, step=0)
    for group in groups:
        for one, other in zip(group, plain, strict=True):
            assert [r.response_ids.tolist() for r in one] == [r.response_ids.tolist() for r in other]
