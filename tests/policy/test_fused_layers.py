"""Layers in compiled halves against transformers' own: log-probabilities, gradients, and how many graphs are made."""

import copy

import numpy as np
import pytest
import torch
from tiny_models import TOKENIZER, gradients, tiny_model, tiny_policy, worst_relative
from torch._dynamo.utils import counters

from gppo.config.model import LoRAConfig, ModelConfig
from gppo.policy import Policy, fused, load_policy
from gppo.policy.family import after_attention, before_attention
from gppo.policy.lora import add_adapters
from gppo.policy.memory import with_checkpointing


@pytest.fixture
def _not_compiled(monkeypatch):
    """The halves as they are written: what a layer does with them can be tested without waiting for a compiler."""
    monkeypatch.setattr(fused, "_BEFORE", before_attention)
    monkeypatch.setattr(fused, "_AFTER", after_attention)


def _rows(longest: int, rows: int = 6):
    rng = np.random.default_rng(longest)
    prompts = [rng.integers(0, 256, 5)] * (rows - 2) + [rng.integers(0, 256, 9)] * 2
    return prompts, [rng.integers(0, 256, size) for size in (longest, *rng.integers(1, longest + 1, rows - 1))]


def _learn(policy: Policy, rows) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    tokens = policy.tokens(*rows)
    c_N = torch.randn(len(tokens.targets_N), generator=torch.Generator().manual_seed(0))
    logprobs_N, _, _ = policy.backward_N(tokens, lambda _, part: c_N[part])
    return logprobs_N, gradients(policy)


def _pair(family: str, **options) -> tuple[Policy, Policy]:
    plain, halves = (Policy(tiny_model(family, **options).train(), TOKENIZER, compiled=c) for c in (False, True))
    assert halves.uncompiled_reason is None
    return plain, halves


@pytest.mark.usefixtures("_not_compiled")
@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("Qwen3", {}),
        ("Qwen2", {"tie_word_embeddings": True}),
        ("Llama", {"attention_bias": True, "num_key_value_heads": 1, "num_attention_heads": 2, "head_dim": 8}),
    ],
)
def test_halves_learn_what_layers_learn(family, options):
    plain, halves = _pair(family, dtype=torch.float64, **options)
    expected, got = _learn(plain, _rows(20)), _learn(halves, _rows(20))
    torch.testing.assert_close(got[0], expected[0], rtol=1e-10, atol=1e-10)
    assert worst_relative(got[1], expected[1]) < 1e-10


@pytest.mark.usefixtures("_not_compiled")
def test_checkpointing_computes_the_halves_again():
    plain, halves = _pair("Qwen3", dtype=torch.float64)
    with_checkpointing(halves.model)
    assert worst_relative(_learn(halves, _rows(9))[1], _learn(plain, _rows(9))[1]) < 1e-10


@pytest.mark.usefixtures("_not_compiled")
def test_other_forwards_and_copies():
    plain, halves = _pair("Qwen3")
    ids = torch.arange(12)[None]
    assert torch.equal(halves.model(ids, use_cache=True).logits, plain.model(ids, use_cache=True).logits)
    # A copy's layers read the copy's weights.
    other = Policy(copy.deepcopy(halves.model), TOKENIZER)
    with torch.no_grad():
        for parameter in halves.model.parameters():
            parameter.zero_()
    expected, got = _learn(plain, _rows(9)), _learn(other, _rows(9))
    assert worst_relative(got[1], expected[1]) < 1e-4
    # What has come between a layer and its matrices since is not passed by.
    hook = other.model.model.layers[0].mlp.register_forward_hook(lambda _, __, out: out * 2)
    hooked = _learn(other, _rows(9))[0]
    hook.remove()
    assert not torch.allclose(hooked, _learn(other, _rows(9))[0])


@pytest.mark.usefixtures("_not_compiled")
class TestLeftAsTheyAre:
    def test_adapters(self):
        pytest.importorskip("peft")
        model = tiny_model("Qwen3")
        add_adapters(model, LoRAConfig(rank=2), seed=0)
        assert "adapters" in Policy(model, TOKENIZER, compiled=True).uncompiled_reason

    def test_another_family(self):
        assert "not those of" in Policy(tiny_model("SmolLM3"), TOKENIZER, compiled=True).uncompiled_reason

    def test_padded_rows(self):
        assert (
            "padded" in Policy(tiny_model("Qwen3", attention_dropout=0.1), TOKENIZER, compiled=True).uncompiled_reason
        )

    def test_a_recipe_is_told(self, caplog):
        config = {"tiny": {"hidden_size": 32, "layers": 1}, "tokenizer": "bytes", "compile": True, "dtype": "mixed"}
        load_policy(ModelConfig.model_validate(config), seed=0)
        assert "model.compile" in caplog.text
        assert "mixed" in caplog.text


@pytest.mark.slow
def test_compiled_once_for_any_length():
    before = counters["stats"]["unique_graphs"]
    plain, halves = _pair("Qwen3")
    made = counters["stats"]["unique_graphs"] - before
    assert made == 2
    exact = tiny_policy("Qwen3", dtype=torch.float64)
    for longest in (3, 40, 90):
        rows = _rows(longest, rows=30)
        (expected, of_plain), (got, of_halves) = _learn(plain, rows), _learn(halves, rows)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        true = _learn(exact, rows)[1]
        assert worst_relative(of_halves, true) < 1e-6 + 3 * worst_relative(of_plain, true)
        again = _learn(halves, rows)
        assert torch.equal(again[0], got)
        assert all(torch.equal(again[1][name], of_halves[name]) for name in of_halves)
        with torch.no_grad():
            unlearned, _ = halves.logprobs_N(halves.tokens(*rows))
        assert torch.equal(unlearned, plain.logprobs_N(plain.tokens(*rows))[0])
    assert counters["stats"]["unique_graphs"] - before == made


def test_without_a_compiler_a_reason():
    with torch._inductor.config.patch("cpp.cxx", ("/nonexistent/c++",)):
        policy = Policy(tiny_model("Qwen3", hidden_size=24), TOKENIZER, compiled=True)  # a shape that no other compiles
    assert "install a C++ compiler" in policy.uncompiled_reason
    assert "forward" not in vars(policy.model.model.layers[0])
