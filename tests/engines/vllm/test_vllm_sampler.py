"""vLLM as the sampler of training: the right weights, the right probabilities, and clear words where it fails."""

import copy
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from endpoint_world import CONTEXT, LIMIT, PROBLEMS
from vllm_server import SHAPE

from gppo.config import LoRAConfig, Recipe, VLLMConfig
from gppo.evaluate.stage import run_eval
from gppo.policy import Policy
from gppo.policy.lora import add_adapters
from gppo.policy.tiny import tiny_qwen3
from gppo.records import write_problems
from gppo.rl.stage import run_rl
from gppo.rollout import LocalSampler, Request, requests_for
from gppo.rollout.vllm import VLLMSampler
from gppo.run import RunFolder
from gppo.types import GppoError, Rollout, SamplingSettings, UserError

pytestmark = pytest.mark.slow
SETTINGS = SamplingSettings(max_tokens=LIMIT)
#: Longer than a block of vLLM's cache (128 tokens on a CPU), or prefixes would never be kept.
LONG = [Request("long", np.arange(300) % 250, (0, 1, 2, 3)), Request("short", np.arange(9, 14), (0, 5))]


@pytest.fixture(scope="module")
def own(policy: Policy) -> Policy:
    """Weights that these tests may change, far enough from fresh ones that every one of them shows."""
    model = tiny_qwen3(SHAPE, policy.tokenizer, seed=0, max_context=512)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return Policy(model, policy.tokenizer)


@pytest.fixture(scope="module")
def sampler(vllm_python: Path, own: Policy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VLLMSampler]:
    log = tmp_path_factory.mktemp("sampler") / "vllm.log"
    with VLLMSampler(own, VLLMConfig(python=vllm_python), 32, log) as made:
        yield made


def _gap(policy: Policy, rollouts: list[list[Rollout]]) -> float:
    """The largest difference between sampled log-probabilities and the policy's, nats."""
    flat = [rollout for row in rollouts for rollout in row]
    with torch.no_grad():
        logprobs_N, _ = policy.logprobs_N(policy.tokens([r.prompt_ids for r in flat], [r.response_ids for r in flat]))
    return float(np.abs(logprobs_N.numpy() - np.concatenate([r.sampled_logprobs for r in flat])).max())


def _ids(rollouts: list[list[Rollout]]) -> list[list[list[int]]]:
    return [[rollout.response_ids.tolist() for rollout in row] for row in rollouts]


def test_logprobs_are_the_model_s_after_every_change_of_weights(own: Policy, sampler: VLLMSampler) -> None:
    """Fails where prefixes of the old weights are kept (the prompts come again), or the tied head stays behind."""
    assert own.config.tie_word_embeddings
    torch.manual_seed(0)
    for step in range(4):
        rollouts = sampler.generate(LONG, SETTINGS, seed=0, step=step)
        assert [[rollout.sample for rollout in row] for row in rollouts] == [[0, 1, 2, 3], [0, 5]]
        assert _gap(own, rollouts) < 1e-4, step
        with torch.no_grad():
            for parameter in own.model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))


def test_the_same_requests_give_the_same_responses_and_samples_differ(sampler: VLLMSampler) -> None:
    once, again = (_ids(sampler.generate(LONG, SETTINGS, seed=3, step=7)) for _ in range(2))
    assert once == again
    assert len({tuple(ids) for ids in once[0]}) == 4
    assert _ids(sampler.generate(LONG, SETTINGS, seed=3, step=8)) != once
    assert _ids(sampler.generate(LONG, SETTINGS, seed=4, step=7)) != once


def test_tempered_logprobs_are_those_of_the_draw(own: Policy, sampler: VLLMSampler) -> None:
    hot = SamplingSettings(temperature=1.7, max_tokens=LIMIT)
    flat = [r for row in sampler.generate(LONG, hot, seed=0, step=0) for r in row]
    with torch.no_grad():
        tokens = own.tokens([r.prompt_ids for r in flat], [r.response_ids for r in flat])
        logprobs_N, _ = own.logprobs_N(tokens, temperature=1.7)
    sampled_N = np.concatenate([r.sampled_logprobs for r in flat])
    np.testing.assert_allclose(logprobs_N.numpy(), sampled_N, atol=1e-4)


def test_responses_end_as_the_local_sampler_s_do(policy: Policy, vllm_python: Path, tmp_path: Path) -> None:
    """Greedy, on a taught model: the same tokens, stop token included, the same text, the same reasons."""
    requests, _ = requests_for(policy.tokenizer, PROBLEMS, 1, CONTEXT)
    greedy = SamplingSettings(temperature=0.0, max_tokens=LIMIT)
    cut = SamplingSettings(temperature=0.0, max_tokens=5)
    told: list[Rollout] = []
    with VLLMSampler(policy, VLLMConfig(python=vllm_python), 8, tmp_path / "vllm.log") as sampler:
        for settings in (greedy, cut):
            found = sampler.generate(requests, settings, seed=0, step=0, on_finished=told.append)
            expected = LocalSampler(policy).generate(requests, settings, seed=0, step=0)
            for (mine,), (theirs,) in zip(found, expected, strict=True):
                assert mine.response_ids.tolist() == theirs.response_ids.tolist()
                assert (mine.text, mine.finish_reason) == (theirs.text, theirs.finish_reason)
        assert {rollout.finish_reason for rollout in told} == {"stop", "length"}
        assert len(told) == 2 * len(PROBLEMS)
        with pytest.raises(UserError, match="context holds"):
            sampler.generate([Request("p", np.zeros(CONTEXT, dtype=np.int64), (0,))], greedy, seed=0, step=0)


def test_a_judge_that_fails_ends_the_rollouts_and_the_next_ones_are_whole(sampler: VLLMSampler) -> None:
    expected = _ids(sampler.generate(LONG, SETTINGS, seed=0, step=0))

    def fail(_: Rollout) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sampler.generate(LONG, SETTINGS, seed=0, step=0, on_finished=fail)
    assert _ids(sampler.generate(LONG, SETTINGS, seed=0, step=0)) == expected


def test_a_killed_process_is_one_sentence_and_the_next_call_starts_another(own: Policy, sampler: VLLMSampler) -> None:
    expected = _ids(sampler.generate(LONG, SETTINGS, seed=0, step=0))
    assert sampler._process is not None
    os.kill(sampler._process._process.pid, signal.SIGKILL)
    with pytest.raises(GppoError, match=r"killed by SIGKILL.*vllm\.log") as caught:
        sampler.generate(LONG, SETTINGS, seed=0, step=0)
    assert "\n" not in str(caught.value)
    assert _ids(sampler.generate(LONG, SETTINGS, seed=0, step=0)) == expected


def test_an_engine_with_other_weights_is_an_error_at_once(own: Policy, vllm_python: Path, tmp_path: Path) -> None:
    """The comparison fails between two pieces of vLLM's work, where nothing is under way that could be aborted."""
    other = Policy(copy.deepcopy(own.model), own.tokenizer)
    with torch.no_grad():
        other.model.model.norm.weight.mul_(3.0)

    class Wrong(VLLMSampler):
        def _write_weights(self, folder: Path) -> None:
            mine, self.policy = self.policy, other
            super()._write_weights(folder)
            self.policy = mine

    with Wrong(own, VLLMConfig(python=vllm_python), 8, tmp_path / "vllm.log") as sampler:
        for _ in range(2):
            with pytest.raises(GppoError, match=r"other probabilities .* nats apart"):
                sampler.generate(LONG, SETTINGS, seed=0, step=0)


def test_an_environment_without_vllm_is_one_sentence(own: Policy, tmp_path: Path) -> None:
    with (
        VLLMSampler(own, VLLMConfig(python=Path("/usr/bin/python3")), 8, tmp_path / "vllm.log") as sampler,
        pytest.raises(GppoError, match="No module named 'vllm'"),
    ):
        sampler.generate(LONG, SETTINGS, seed=0, step=0)


def test_adapters_are_sent_merged(own: Policy, vllm_python: Path, tmp_path: Path) -> None:
    model = copy.deepcopy(own.model)
    add_adapters(model, LoRAConfig(rank=4, alpha=8), seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.3)
    adapted = Policy(model, own.tokenizer)
    with VLLMSampler(adapted, VLLMConfig(python=vllm_python), 8, tmp_path / "vllm.log") as sampler:
        rollouts = sampler.generate(LONG, SETTINGS, seed=0, step=0)
    assert _gap(adapted, rollouts) < 1e-4
    assert _gap(own, rollouts) > 0.1


def _recipe(data: Path, sampler: str, python: Path) -> Recipe:
    return Recipe.model_validate(
        {
            "name": sampler,
            "seed": 1,
            "threads": 2,
            "vllm": {"python": str(python)},
            "rl": {
                "stages": [{"name": "sums", "data": str(data), "steps": 10}],
                "prompts_per_step": 4,
                "group_size": 16,
                "mini_batch_prompts": 2,
                "learning_rate": 1e-4,
                "max_prompt_tokens": CONTEXT - LIMIT,
                "max_response_tokens": LIMIT,
                "zero_advantage": "keep",
                "sampler": sampler,
                "save_every": 100,
            },
            "evaluate": {
                "sets": [{"name": "sums", "data": str(data)}],
                "sampling": [{"temperature": 1.0, "top_p": 1.0, "k": 16}],
                "max_response_tokens": LIMIT,
                "engine": sampler,
            },
        }
    )


def test_ten_steps_of_rl_earn_what_they_earn_with_the_local_sampler(
    policy: Policy, vllm_python: Path, tmp_path: Path
) -> None:
    data = tmp_path / "problems.jsonl"
    write_problems(data, PROBLEMS)
    rewards, scores = {}, {}
    for name in ("local", "vllm"):
        trained = Policy(copy.deepcopy(policy.model), policy.tokenizer, CONTEXT)
        run = RunFolder.create(tmp_path / name, f"name: {name}\n")
        recipe = _recipe(data, name, vllm_python)
        run_rl(recipe, run, trained)
        lines = run.read_metrics("rl")
        assert len(lines) == 10
        rewards[name] = np.array([line["reward_mean"] for line in lines])
        if name == "vllm":
            assert max(line["mismatch_mean"] for line in lines) < 1e-4
        (evaluation,) = run_eval(recipe, RunFolder.create(tmp_path / f"{name}-eval", "name: e\n"), trained)
        scores[name] = evaluation.correct_PK.mean()
    gap = rewards["vllm"].mean() - rewards["local"].mean()
    assert abs(gap) < 2 * np.sqrt(sum(found.var(ddof=1) / len(found) for found in rewards.values())), rewards
    assert abs(scores["vllm"] - scores["local"]) < 0.25, scores
