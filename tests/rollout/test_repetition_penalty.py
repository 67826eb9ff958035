"""The repetition penalty: transformers' own processor and generate() as the reference."""

import numpy as np
import pytest
import torch
from test_local_sampler import _generate, _policy, _requests, _tokens
from transformers import RepetitionPenaltyLogitsProcessor

from gppo.rollout.local.draw import draw, penalised, sampled_distribution
from gppo.rollout.local.seen import Seen
from gppo.types import SamplingSettings


@pytest.mark.parametrize("penalty", [1.05, 2.0, 0.8])
def test_logits_are_those_of_transformers(penalty):
    torch.manual_seed(0)
    logits, ids = torch.randn(5, 50) * 4, torch.randint(0, 50, (5, 30))
    expected = RepetitionPenaltyLogitsProcessor(penalty)(ids, logits.clone())
    seen = torch.zeros(5, 50, dtype=torch.bool).scatter_(1, ids, True)
    assert torch.equal(penalised(logits, seen, penalty), expected)
    assert (expected != logits).any()


def test_flags_follow_rows_from_slot_to_slot():
    seen = Seen(4, 10, torch.device("cpu"))
    seen.start(np.array([0, 1, 2]), [np.array([1, 1, 2]), np.array([3]), np.array([4])])
    seen.with_tokens(torch.tensor([5, 6, 7]))
    assert [torch.where(row)[0].tolist() for row in seen.flags_SV] == [[1, 2, 5], [3, 6], [4, 7], []]
    seen.keep(np.array([2, 1]))
    seen.start(np.array([1]), [np.array([9])])  # a new row remembers nothing of the one before
    assert [torch.where(row)[0].tolist() for row in seen.rows(np.array([0, 1]))] == [[4, 7], [9]]


@pytest.mark.parametrize("family", ["Qwen3", "GPTNeoX"])
def test_greedy_decoding_equals_generate(family):
    policy = _policy(family, stops=3)
    settings = SamplingSettings(temperature=0, max_tokens=20, repetition_penalty=1.3)
    groups = _generate(policy, settings=settings)
    for rollout in (r for group in groups for r in group):
        expected = policy.model.generate(
            torch.from_numpy(rollout.prompt_ids)[None],
            attention_mask=torch.ones(1, len(rollout.prompt_ids), dtype=torch.long),
            do_sample=False,
            max_new_tokens=20,
            repetition_penalty=1.3,
        )
        assert rollout.response_ids.tolist() == expected[0, len(rollout.prompt_ids) :].tolist()
    plain = _generate(policy, settings=SamplingSettings(temperature=0, max_tokens=20))
    assert _tokens(plain) != _tokens(groups)


@pytest.mark.parametrize("family", ["Qwen3", "Phi3"])
@pytest.mark.parametrize("max_rows", [1, 2, 5])
def test_who_decodes_beside_whom_changes_no_token(family, max_rows):
    policy = _policy(family, stops=12)
    settings = SamplingSettings(temperature=0.8, top_p=0.9, top_k=30, max_tokens=24, repetition_penalty=1.4)
    assert _tokens(_generate(policy, settings=settings, max_rows=max_rows)) == _tokens(
        _generate(policy, settings=settings)
    )


def test_each_draw_is_from_the_penalised_distribution():
    """Token by token from whole forward passes: prompt and response so far, no cache, no batch."""
    policy = _policy(stops=12)
    settings = SamplingSettings(temperature=0.6, top_p=0.95, top_k=20, max_tokens=24, repetition_penalty=1.5)
    groups = _generate(policy, _requests((4, 9), samples=2), settings)
    for rollout in (r for group in groups for r in group):
        ids = torch.from_numpy(np.concatenate([rollout.prompt_ids, rollout.response_ids]))
        start = len(rollout.prompt_ids)
        with torch.no_grad():
            logits = policy.model(input_ids=ids[None]).logits[0, start - 1 : -1]
        for t, token in enumerate(rollout.response_ids):
            said = RepetitionPenaltyLogitsProcessor(1.5)(ids[None, : start + t], logits[t : t + 1].clone())
            law = sampled_distribution(said, settings)[0]
            assert law[token].item() == pytest.approx(rollout.sampled_logprobs[t], abs=2e-4)


def test_a_draw_without_a_penalty_is_as_before():
    torch.manual_seed(0)
    logits, uniforms = torch.randn(6, 40), torch.rand(6, dtype=torch.float64)
    seen = torch.ones(6, 40, dtype=torch.bool)
    for settings in (SamplingSettings(temperature=0.7), SamplingSettings(temperature=0)):
        for one, other in zip(draw(logits, uniforms, settings), draw(logits, uniforms, settings, seen), strict=True):
            assert torch.equal(one, other)
