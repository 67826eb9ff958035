"""Mixed precision: float32 weights, gradients and state; products in bfloat16, in training and in decoding alike."""

import numpy as np
import pytest
import torch
from tiny_models import TOKENIZER, random_batch, tiny_model

from gppo.config import ModelConfig, OptimizerConfig
from gppo.policy import Optimizer, Policy, load_policy, weights_fingerprint
from gppo.rollout import LocalSampler, Request
from gppo.types import SamplingSettings

SMALL = {"hidden_size": 32, "layers": 2, "heads": 4, "kv_heads": 2}


def _pair(family: str) -> tuple[Policy, Policy]:
    return Policy(tiny_model(family), TOKENIZER, mixed=True), Policy(tiny_model(family), TOKENIZER)


def _gradients(policy: Policy, one_pass: bool) -> dict[str, torch.Tensor]:
    batch = random_batch()
    responses = [row[mask] for row, mask in zip(batch.response_ids_BT, batch.mask_BT, strict=True)]
    tokens = policy.tokens(batch.prompt_ids, responses)
    c_N = torch.linspace(-1, 2, len(tokens.targets_N))
    if one_pass:
        policy.backward_N(tokens, lambda _, part: c_N[part])
    else:
        torch.autograd.backward(policy.logprobs_N(tokens)[0], -c_N)
    return {name: p.grad for name, p in policy.model.named_parameters()}


@pytest.mark.parametrize("one_pass", [True, False])
@pytest.mark.parametrize("family", ["Qwen3", "Qwen2", "Llama"])
def test_gradients_are_float32_and_close_to_those_of_float32(family, one_pass):
    mixed, plain = _pair(family)
    assert mixed.unpacked_reason is None
    got, expected = _gradients(mixed, one_pass), _gradients(plain, one_pass)
    for name, gradient in got.items():
        assert gradient.dtype == torch.float32, name
        gap = float((gradient - expected[name]).norm() / expected[name].norm())
        assert 0 < gap < 0.1, (name, gap)  # 0 would say that nothing was computed in bfloat16


def test_both_backwards_give_one_gradient():
    one, other = _pair("Qwen3")[0], _pair("Qwen3")[0]
    for (name, a), b in zip(_gradients(one, True).items(), _gradients(other, False).values(), strict=True):
        assert float((a - b).norm() / b.norm()) < 0.02, name


def test_an_update_smaller_than_a_step_of_bfloat16_is_kept():
    policy = Policy(tiny_model("Qwen3"), TOKENIZER, mixed=True)
    optimizer = Optimizer(policy.model, OptimizerConfig(learning_rate=1e-7, warmup_steps=0), 10)
    before = policy.head.weight.detach().clone()
    _gradients(policy, True)
    optimizer.step(0)
    moved = (policy.head.weight.detach() - before)[before.abs() > 0.05]
    assert float((moved != 0).float().mean()) > 0.9  # bfloat16 weights of that size could not move by 1e-7 at all


@pytest.mark.parametrize("compiled", [False, True])
def test_sampled_logprobs_are_those_that_training_computes(compiled):
    if compiled and not _can_compile():
        pytest.skip("no C++ compiler for torch.compile")
    policy = Policy(tiny_model("Qwen3"), TOKENIZER, mixed=True)
    prompts = [np.arange(5, 5 + n) for n in (4, 9)]
    requests = [Request(str(i), prompt, (0, 1, 2)) for i, prompt in enumerate(prompts)]
    settings = SamplingSettings(1.0, 1.0, 0, 24)
    rows = LocalSampler(policy, compiled=compiled).generate(requests, settings, seed=0, step=0)
    flat = [rollout for row in rows for rollout in row]
    with torch.no_grad():
        batch = policy.tokens([r.prompt_ids for r in flat], [r.response_ids for r in flat])
        logprobs_N, _ = policy.logprobs_N(batch)
        plain = Policy(tiny_model("Qwen3"), TOKENIZER)
        wide_N, _ = plain.logprobs_N(plain.tokens([r.prompt_ids for r in flat], [r.response_ids for r in flat]))
    sampled_N = torch.from_numpy(np.concatenate([r.sampled_logprobs for r in flat]))
    mismatch, precision = (float((logprobs_N - x).abs().mean()) for x in (sampled_N, wide_N))
    assert mismatch < 2 * precision  # no further apart than bfloat16 is from float32
    assert precision > 0


def _can_compile() -> bool:
    import shutil

    return any(shutil.which(name) for name in ("g++", "c++", "clang++"))


def test_the_recipe_says_mixed():
    policy = load_policy(ModelConfig(tiny=SMALL, tokenizer="bytes", dtype="mixed"), seed=0)
    wide = load_policy(ModelConfig(tiny=SMALL, tokenizer="bytes"), seed=0)
    assert {p.dtype for p in policy.model.parameters()} == {torch.float32}
    assert policy.compute_dtype == torch.bfloat16
    assert wide.compute_dtype == torch.float32
    assert weights_fingerprint(policy) != weights_fingerprint(wide)  # kept evaluations of one are not the other's


def test_another_family_decodes_through_transformers_in_mixed_precision():
    policy = Policy(tiny_model("Phi3"), TOKENIZER, mixed=True)
    settings = SamplingSettings(1.0, 1.0, 0, 8)
    ((rollout,),) = LocalSampler(policy).generate([Request("p", np.arange(5, 12), (0,))], settings, seed=0, step=0)
    with torch.no_grad():
        logprobs_N, _ = policy.logprobs_N(policy.tokens([rollout.prompt_ids], [rollout.response_ids]))
    assert np.abs(logprobs_N.numpy() - rollout.sampled_logprobs).mean() < 0.05
