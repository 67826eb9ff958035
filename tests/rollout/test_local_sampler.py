"""The loop over tokens: what is drawn, when it ends, and that nothing else has a say in it."""

import numpy as np
import pytest
import torch
from tiny_models import TOKENIZER, tiny_model

from gppo.policy import Policy
from gppo.rollout import LocalSampler, Request, requests_for
from gppo.rollout.local import sampler as sampling
from gppo.rollout.local.decoders import FamilyDecoder
from gppo.rollout.local.prefill import prefill
from gppo.rollout.local.steps import Steps
from gppo.types import Problem, Rollout, SamplingSettings, UserError

SETTINGS = SamplingSettings(max_tokens=24)


def _policy(family: str = "Qwen3", stops: int = 0, **options) -> Policy:
    """``stops``: that many of the 256 bytes end a response, so that rows finish at many different times."""
    model = tiny_model(family, **options).eval()  # GPT2 drops out in training
    model.generation_config.eos_token_id = [*range(stops), TOKENIZER.eos_token_id]
    return Policy(model, TOKENIZER)


def _requests(lengths: tuple[int, ...] = (3, 20, 1, 9), samples: int = 3, seed: int = 0) -> list[Request]:
    rng = np.random.default_rng(seed)
    return [
        Request(f"problem {i}", rng.integers(0, 256, length), tuple(range(samples))) for i, length in enumerate(lengths)
    ]


def _generate(policy: Policy, requests=None, settings=SETTINGS, max_rows=256, seed=0, step=0, **options):
    requests = _requests() if requests is None else requests
    return LocalSampler(policy, max_rows).generate(requests, settings, seed=seed, step=step, **options)


def _tokens(groups: list[list[Rollout]]) -> dict[tuple[str, int], list[int]]:
    return {(r.problem_id, r.sample): r.response_ids.tolist() for group in groups for r in group}


def _logprobs(policy: Policy, rollout: Rollout, temperature: float) -> np.ndarray:
    with torch.no_grad():
        tokens = policy.tokens((rollout.prompt_ids,), [rollout.response_ids])
        return policy.logprobs_N(tokens, temperature)[0].numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("family", ["Qwen3", "Qwen2", "Llama", "Mistral", "Granite"])
def test_sampled_logprobs_are_the_policys(family, temperature):
    options = {"Mistral": {"sliding_window": 5}, "Granite": {"logits_scaling": 2.0}}.get(family, {})
    policy = _policy(family, stops=20, **options)
    groups = _generate(policy, settings=SamplingSettings(temperature=temperature, max_tokens=24))
    for rollout in (r for group in groups for r in group):
        assert rollout.sampled_logprobs.dtype == np.float32
        assert rollout.sampled_logprobs.shape == rollout.response_ids.shape
        assert np.abs(rollout.sampled_logprobs - _logprobs(policy, rollout, temperature)).max() < 1e-5


def test_nothing_keeps_the_cache_when_sampling_has_ended():
    sampler = LocalSampler(_policy())
    sampler.generate(_requests(), SETTINGS, seed=0, step=0)
    [steps] = sampler._steps.values()

    def capture(_: Rollout) -> None:
        steps._graphs[8, 64] = None  # as a GPU leaves one, which holds the cache that it was captured on

    sampler.generate(_requests(), SETTINGS, seed=0, step=1, on_finished=capture)
    assert not steps._graphs


def test_rollouts_come_in_the_order_asked_for():
    requests = [Request("b", np.array([1, 2]), (4, 0)), Request("a", np.array([3]), (1,))]
    groups = _generate(_policy(), requests)
    assert [[(r.problem_id, r.sample) for r in group] for group in groups] == [[("b", 4), ("b", 0)], [("a", 1)]]
    assert groups[0][0].prompt_ids.tolist() == [1, 2]
    assert _generate(_policy(), []) == []


def test_the_same_seed_gives_the_same_and_others_do_not():
    policy = _policy(stops=10)
    first, again = _generate(policy), _generate(policy)
    assert _tokens(first) == _tokens(again)
    for one, other in zip(first, again, strict=True):
        for a, b in zip(one, other, strict=True):
            assert np.array_equal(a.sampled_logprobs, b.sampled_logprobs)
    assert _tokens(_generate(policy, seed=1)) != _tokens(first)
    assert _tokens(_generate(policy, step=1)) != _tokens(first)
    assert len({tuple(ids) for ids in _tokens(first).values()}) == 12


def test_the_weights_are_those_of_now():
    policy = _policy()
    sampler = LocalSampler(policy)
    before = _tokens(sampler.generate(_requests(), SETTINGS, seed=0, step=0))
    with torch.no_grad():
        policy.model.model.layers[0].mlp.down_proj.weight.mul_(-3)
    assert _tokens(sampler.generate(_requests(), SETTINGS, seed=0, step=0)) != before


@pytest.mark.parametrize("family", ["Qwen3", "Phi3"])
@pytest.mark.parametrize("max_rows", [1, 2, 4, 7])
def test_who_decodes_beside_whom_changes_no_token(family, max_rows):
    policy = _policy(family, stops=12)
    assert _tokens(_generate(policy, max_rows=max_rows)) == _tokens(_generate(policy))


def test_neither_does_the_order_or_the_choice_of_requests():
    policy = _policy(stops=12)
    requests = _requests()
    whole = _tokens(_generate(policy, requests))
    assert _tokens(_generate(policy, requests[::-1])) == whole
    some = [Request(requests[2].problem_id, requests[2].prompt_ids, (2, 0))]
    assert _tokens(_generate(policy, some)) == {key: whole[key] for key in (("problem 2", 2), ("problem 2", 0))}


def test_a_longer_limit_continues_the_same_response():
    policy = _policy()
    short = _tokens(_generate(policy, settings=SamplingSettings(max_tokens=5)))
    long = _tokens(_generate(policy, settings=SamplingSettings(max_tokens=40)))
    assert all(long[key][:5] == ids for key, ids in short.items())


def test_a_response_ends_with_its_stop_token():
    policy = _policy(stops=30)
    rollouts = [r for group in _generate(policy) for r in group]
    assert {r.finish_reason for r in rollouts} == {"stop", "length"}
    for r in rollouts:
        stops = np.isin(r.response_ids, policy.stop_ids)
        assert not stops[:-1].any()
        if r.finish_reason == "stop":
            assert stops[-1]
            assert not r.truncated
            assert r.text == TOKENIZER.decode(r.response_ids[:-1], skip_special_tokens=True)
        else:
            assert not stops[-1]
            assert len(r.response_ids) == 24
            assert r.truncated
            assert r.text == TOKENIZER.decode(r.response_ids, skip_special_tokens=True)


def test_a_stop_token_at_the_limit_is_a_stop():
    policy = _policy(stops=256)
    rollouts = [r for group in _generate(policy, settings=SamplingSettings(max_tokens=1)) for r in group]
    assert all(len(r.response_ids) == 1 for r in rollouts)
    for r in rollouts:
        assert (r.finish_reason == "stop") == (r.response_ids[0] in policy.stop_ids)
    assert "stop" in {r.finish_reason for r in rollouts}


def test_the_context_is_a_limit_too():
    policy = _policy(max_position_embeddings=32)
    groups = _generate(policy, _requests((31, 30, 2)), SamplingSettings(max_tokens=25))
    assert [{len(r.response_ids) for r in group} for group in groups] == [{1}, {2}, {25}]
    assert all(r.finish_reason == "length" for group in groups for r in group)


def test_rows_carried_past_the_context_do_no_harm():
    # Learned positions end at the context; a row that is finished stays until enough others are.
    policy = _policy("GPT2", max_position_embeddings=32)
    requests = _requests((28, 2, 3, 4, 5), samples=1)
    groups = _generate(policy, requests, SamplingSettings(max_tokens=25))
    assert [len(group[0].response_ids) for group in groups] == [4, 25, 25, 25, 25]
    for (rollout,) in groups:
        assert np.abs(rollout.sampled_logprobs - _logprobs(policy, rollout, 1.0)).max() < 1e-5


def test_a_prompt_that_fills_the_context_is_a_sentence():
    policy = _policy(max_position_embeddings=32)
    with pytest.raises(UserError, match=r"problem 0.*32") as caught:
        _generate(policy, _requests((32,)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", ["Qwen3", "GPTNeoX"])
def test_temperature_zero_equals_transformers_generate(family):
    policy = _policy(family, stops=3)
    policy.model.eval()
    for group in _generate(policy, settings=SamplingSettings(temperature=0, max_tokens=20)):
        for rollout in group:
            expected = policy.model.generate(
                torch.from_numpy(rollout.prompt_ids)[None],
                attention_mask=torch.ones(1, len(rollout.prompt_ids), dtype=torch.long),
                do_sample=False,
                max_new_tokens=20,
            )
            assert rollout.response_ids.tolist() == expected[0, len(rollout.prompt_ids) :].tolist()
            assert np.abs(rollout.sampled_logprobs - _logprobs(policy, rollout, 1.0)).max() < 1e-5


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training):
    policy = _policy(stops=10)
    policy.model.train(training)
    groups = _generate(policy)
    assert policy.model.training is training
    assert all(module.training is training for module in policy.model.modules())
    assert all(p.grad is None and p.requires_grad for p in policy.model.parameters())
    assert not torch.is_inference_mode_enabled()
    # It can be trained at once: nothing was left behind in inference mode.
    logprobs, _ = policy.logprobs_N(policy.tokens((groups[0][0].prompt_ids,), [groups[0][0].response_ids]))
    logprobs.sum().backward()
    assert all(p.grad is not None for p in policy.model.parameters())


def test_so_it_is_after_an_error():
    policy = _policy(stops=10)
    policy.model.train()

    def fails(_: Rollout) -> None:
        raise FloatingPointError

    with pytest.raises(FloatingPointError):
        _generate(policy, on_finished=fails)
    assert policy.model.training
    assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("max_rows", [256, 5])
def test_every_response_is_announced_once_as_soon_as_it_ends(max_rows):
    policy = _policy(stops=25)
    announced: list[Rollout] = []
    groups = _generate(policy, max_rows=max_rows, on_finished=announced.append)
    keys = [(r.problem_id, r.sample) for r in announced]
    assert sorted(keys) == sorted(_tokens(groups))
    returned = {id(r) for group in groups for r in group}
    assert {id(r) for r in announced} == returned
    if max_rows == 256:
        lengths = [len(r.response_ids) for r in announced]
        assert lengths == sorted(lengths)
        assert len(set(lengths)) > 3


def test_truncated_sampling_stays_within_its_tokens():
    policy = _policy()
    groups = _generate(policy, settings=SamplingSettings(top_k=2, max_tokens=12))
    for rollout in (r for group in groups for r in group):
        ids = torch.from_numpy(np.concatenate([rollout.prompt_ids, rollout.response_ids]))
        with torch.no_grad():
            logits = policy.model(input_ids=ids[None]).logits[0, len(rollout.prompt_ids) - 1 : -1]
        best, index = logits.topk(2)
        chosen = index == torch.from_numpy(rollout.response_ids)[:, None]
        assert chosen.any(1).all()
        assert np.abs(best.log_softmax(-1)[chosen].numpy() - rollout.sampled_logprobs).max() < 1e-5


def test_a_free_slot_is_filled_at_once(monkeypatch):
    policy, shapes, run = _policy(stops=30), [], FamilyDecoder.run
    monkeypatch.setattr(FamilyDecoder, "run", lambda self, *state: shapes.append(state[2].shape) or run(self, *state))
    groups = _generate(policy, _requests((3, 9, 5, 1, 2, 8, 4, 4), samples=5), max_rows=4)
    lengths = [len(r.response_ids) for group in groups for r in group]
    assert max(lengths) == 24 > 2 * np.mean(lengths)  # waves of rows would wait for the longest
    decoded = sum(rows * tokens for rows, tokens in shapes)
    # Beyond what was asked for: up to three tokens after an end, and the last rows' idle neighbours.
    assert decoded <= sum(length - 1 + 3 for length in lengths) + 3 * 24
    assert all(rows == 4 for rows, _ in shapes)


@pytest.mark.parametrize("family", ["Qwen3", "Phi3"])
def test_every_prompt_is_computed_once(monkeypatch, family):
    computed = []

    def spy(policy, prompts, weights):
        computed.extend(prompt.tolist() for prompt in prompts)
        return prefill(policy, prompts, weights)

    monkeypatch.setattr(sampling, "prefill", spy)
    requests = _requests((3, 20, 1, 9, 4), samples=5)
    _generate(_policy(family, stops=12), requests, max_rows=3)
    assert sorted(computed) == sorted(request.prompt_ids.tolist() for request in requests)


def test_compiling_is_decided_by_what_is_to_come_and_not_by_what_was(monkeypatch):
    policy = _policy()
    monkeypatch.setattr(sampling, "COMPILE_TOKENS", 12 * 24 * 10)
    for calls, compiled in ((9, False), (10, True)):
        sampler, asked = LocalSampler(policy, calls=calls), []
        monkeypatch.setattr(
            sampling,
            "Steps",
            lambda shape, device, *, compiled, asked=asked: (
                asked.append(compiled) or Steps(shape, device, compiled=False)
            ),
        )
        for _ in range(20):
            sampler.generate(_requests(), SETTINGS, seed=0, step=0)
        assert asked == [compiled]


def test_draws_follow_the_distribution():
    policy = _policy()
    prompt = np.array([5, 6, 7])
    n = 2000
    groups = _generate(
        policy, [Request("p", prompt, tuple(range(n)))], SamplingSettings(temperature=0.5, max_tokens=1), max_rows=n
    )
    with torch.no_grad():
        law = (policy.model(input_ids=torch.from_numpy(prompt)[None]).logits[0, -1] / 0.5).softmax(-1).numpy()
    counts = np.bincount([r.response_ids[0] for r in groups[0]], minlength=len(law))
    large = law > 10 / n
    assert large.sum() > 5
    # Within four standard deviations each.
    assert (np.abs(counts - n * law) < 4 * np.sqrt(n * law * (1 - law)))[large].all()
    assert counts[~large].sum() < n * law[~large].sum() + 4 * np.sqrt(n)


def test_requests_for_problems():
    problems = [
        Problem(id=name, prompt=({"role": "user", "content": text},), ability="math", ground_truth="1")
        for name, text in [("short", "1+1?"), ("long", "x" * 50), ("exact", "x" * 7)]
    ]
    requests, too_long = requests_for(TOKENIZER, problems, 3, 10)
    assert [r.problem_id for r in requests] == ["short", "exact"]
    assert [p.id for p in too_long] == ["long"]
    assert all(r.samples == (0, 1, 2) for r in requests)
    assert TOKENIZER.decode(requests[1].prompt_ids) == "<|user|>xxxxxxx<|end|><|assistant|>"
