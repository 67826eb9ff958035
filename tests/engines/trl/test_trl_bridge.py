"""What people see of the bridge: settings, warnings, metrics, our decoder, and the example."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("trl", reason="TRL is not installed here; `make test-trl` runs this in an environment that has it")

from datasets import Dataset
from trl import GRPOConfig
from trl_runs import QUIET, tiny_policy

from gppo.bridges.trl import GPPOConfig, GPPOTrainer, LocalRollouts, math_reward
from gppo.types import UserError

OFF_POLICY: dict[str, Any] = {"steps_per_generation": 2, "num_generations": 4, "per_device_train_batch_size": 8}


def trainer_of(folder: Path, *, rewards: Any = math_reward, rollouts: Any = None, **settings: Any) -> GPPOTrainer:
    policy = tiny_policy()
    return GPPOTrainer(
        policy.model,
        rewards,
        GPPOConfig(str(folder), **(QUIET | OFF_POLICY | settings)),
        Dataset.from_list([{"prompt": f"{a}+1=", "answer": str(a + 1)} for a in range(9)]),
        processing_class=policy.tokenizer,
        rollout_func=rollouts,
    )


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"objective": "gpo"}, "gpo.*near: .*gppo"),
        ({"objective": "sapo", "epsilon": 0.1}, "'sapo' has no parameter 'epsilon_low'"),
        ({"objective": "ppo", "beta_low": 0.5}, "'ppo' has no parameter 'beta_low'"),
        ({"epsilon": 1.5}, "give a value from 0 to 1"),
        ({"loss_type": "cispo"}, "objective of TRL's own"),
        ({"importance_sampling_level": "sequence"}, "objective='gspo'"),
        ({"beta": 0.1, "use_bias_correction_kl": True}, "use_bias_correction_kl"),
        ({"delta": 0.9}, "delta = 0.9"),
        ({"lm_alpha": -0.1}, "lm_alpha = -0.1"),
    ],
)
def test_settings_that_would_be_silently_wrong_are_refused(settings: dict[str, Any], says: str, tmp_path: Path):
    with pytest.raises(UserError, match=says):
        GPPOConfig(str(tmp_path), **(QUIET | settings))


def test_normalisation_follows_the_objective_unless_it_is_chosen(tmp_path: Path):
    assert GPPOConfig(str(tmp_path), **QUIET).loss_type == "dapo"
    assert GPPOConfig(str(tmp_path), **QUIET, objective="gspo").loss_type == "grpo"
    assert GPPOConfig(str(tmp_path), **QUIET, objective="gspo", loss_type="dapo").loss_type == "dapo"


def test_trls_own_settings_are_not_enough(tmp_path: Path):
    policy = tiny_policy()
    with pytest.raises(UserError, match="takes a GPPOConfig"):
        GPPOTrainer(policy.model, math_reward, GRPOConfig(str(tmp_path), bf16=False), processing_class=policy.tokenizer)


@pytest.mark.parametrize(
    ("accumulation", "generation", "iterations", "one"),
    [(1, 1, 1, True), (4, 4, 1, True), (4, 2, 1, True), (2, 1, 2, True), (1, 2, 1, False), (2, 4, 1, False),
     (1, 1, 2, False), (4, 3, 1, False)],
)  # fmt: skip
def test_a_ratio_that_is_always_1_is_said(
    accumulation: int, generation: int, iterations: int, one: bool, tmp_path: Path
):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trainer_of(
            tmp_path,
            gradient_accumulation_steps=accumulation,
            steps_per_generation=generation,
            num_iterations=iterations,
        )
    assert any("every importance ratio will be 1" in str(w.message) for w in said) == one


def test_metrics_count_each_quadrant_of_the_clip_range(tmp_path: Path):
    # Row 0 has A = 1, row 1 has A = -2; ratios beyond 1.28 and below 0.8 differ in number on each side.
    ratio_BT = torch.tensor([[1.5, 1.4, 1.3, 0.5, 1.0], [2.0, 0.7, 0.6, 1.0, 9.0]])
    mask_BT = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    trainer = trainer_of(tmp_path, objective="gppo")
    trainer.current_gradient_accumulation_steps = 1
    ids = torch.arange(20).reshape(2, 10) + 5
    inputs = {
        "prompt_ids": ids[:, :5],
        "prompt_mask": torch.ones(2, 5, dtype=torch.long),
        "completion_ids": ids[:, 5:],
        "completion_mask": mask_BT,
        "advantages": torch.tensor([1.0, -2.0]),
        "num_items_in_batch": mask_BT.sum() * 2,
    }
    attention = torch.cat([inputs["prompt_mask"], mask_BT], dim=1)
    with torch.no_grad():
        logps_BT = trainer._get_per_token_logps_and_entropies(trainer.model, ids, attention, 5)[0]
    inputs["old_per_token_logps"] = logps_BT - ratio_BT.log()
    trainer.model.train()
    before = dict(inputs)
    loss = trainer._compute_loss(trainer.model, inputs)
    assert inputs.keys() == before.keys()
    assert all(inputs[name] is before[name] for name in inputs)  # the next iteration finds them as they were
    metrics = {name: values[-1] for name, values in trainer._metrics["train"].items()}
    shares = {"positive_high": 3, "positive_low": 1, "negative_high": 1, "negative_low": 2}
    for quadrant, count in shares.items():
        assert metrics[f"clip_ratio/{quadrant}"] == pytest.approx(count / 9)
    assert metrics["clip_ratio/low_mean"] == pytest.approx(2 / 9)
    assert metrics["clip_ratio/high_mean"] == pytest.approx(3 / 9)
    assert metrics["clip_ratio/region_mean"] == pytest.approx(5 / 9)
    assert metrics["gppo/ratio_mean"] == pytest.approx((1.5 + 1.4 + 1.3 + 0.5 + 1 + 2 + 0.7 + 0.6 + 1) / 9, rel=1e-4)
    kept = [1.28, 1.28, 1.28, 0.5, 1.0], [2.0, 0.8, 0.8, 1.0]  # gppo's weights
    assert loss.item() == pytest.approx(-(sum(kept[0]) - 2 * sum(kept[1])) / 9, rel=1e-4)
    given_back = (3 * 1.28 + 2 * 2 * 0.8) / (sum(kept[0]) + 2 * sum(kept[1]))
    assert metrics["gppo/given_back"] == pytest.approx(given_back, rel=1e-4)
    assert not {"clip_ratio/low_min", "clip_ratio/high_max"} & set(trainer._metrics["train"])


def test_environment_tokens_are_neither_learned_from_nor_counted(tmp_path: Path):
    trainer = trainer_of(tmp_path)
    trainer.current_gradient_accumulation_steps = 1
    ids = torch.arange(20).reshape(2, 10) + 5
    mask_BT = torch.ones(2, 5, dtype=torch.long)
    inputs = {
        "prompt_ids": ids[:, :5],
        "prompt_mask": torch.ones(2, 5, dtype=torch.long),
        "completion_ids": ids[:, 5:],
        "completion_mask": mask_BT,
        "advantages": torch.tensor([1.0, -1.0]),
        "num_items_in_batch": torch.tensor(16),
        "tool_mask": torch.tensor([[1, 0, 1, 1, 1], [1, 1, 1, 1, 0]]),
    }
    with torch.no_grad():
        everything = torch.ones(2, 10, dtype=torch.long)
        logps_BT = trainer._get_per_token_logps_and_entropies(trainer.model, ids, everything, 5)[0]
    far_off = 5.0 * (1 - inputs["tool_mask"])
    trainer.model.train()
    inputs["old_per_token_logps"] = logps_BT - far_off
    trainer._compute_loss(trainer.model, inputs)
    metrics = trainer._metrics["train"]
    assert metrics["gppo/ratio_mean"][-1] == pytest.approx(1.0, abs=1e-5)
    assert metrics["clip_ratio/positive_high"][-1] == 0


class Seen:
    """A reward for digits, which also keeps what was drawn."""

    __name__ = "digits"

    def __init__(self) -> None:
        self.completion_ids: list[list[list[int]]] = []

    def __call__(self, prompts: Any, completions: Any, completion_ids: Any, **_: Any) -> list[float]:
        self.completion_ids.append(completion_ids)
        return [sum(c.isdigit() for c in text) / 12 for text in completions]


def test_our_decoder_samples_for_trl(tmp_path: Path):
    seen = Seen()
    trainer = trainer_of(tmp_path, rewards=[seen], rollouts=LocalRollouts(), max_steps=4, learning_rate=1e-3)
    trainer.train()
    first, second = seen.completion_ids
    groups = [first[i : i + 4] for i in range(0, 16, 4)]
    assert all(len({tuple(ids) for ids in group}) == 4 for group in groups)  # each row has draws of its own
    assert first != second
    again = Seen()
    trainer_of(tmp_path, rewards=[again], rollouts=LocalRollouts(), max_steps=2, learning_rate=1e-3).train()
    assert again.completion_ids == [first]
    assert any("reward" in line for line in trainer.state.log_history)


def test_our_decoders_logprobs_are_trls(tmp_path: Path):
    trainer = trainer_of(tmp_path, rollouts=LocalRollouts(), temperature=0.7)
    prompts = ["1+1="] * 4 + ["8+1=?"] * 4
    found = LocalRollouts()(prompts, trainer)
    for prompt, ids, logprobs in zip(*found.values(), strict=True):
        row = torch.tensor([prompt + ids])
        with torch.no_grad():
            exact = trainer._get_per_token_logps_and_entropies(trainer.model, row, torch.ones_like(row), len(ids))[0]
        torch.testing.assert_close(torch.tensor(logprobs)[None], exact, rtol=0, atol=1e-5)
    assert found["prompt_ids"] == trainer.processing_class(text=prompts)["input_ids"]


def test_our_decoder_follows_adapters_that_trl_has_put_on(tmp_path: Path):
    from peft import LoraConfig

    policy = tiny_policy()
    trainer = GPPOTrainer(
        policy.model,
        Seen(),
        GPPOConfig(str(tmp_path), **(QUIET | OFF_POLICY | {"max_steps": 2, "learning_rate": 1e-2})),
        Dataset.from_list([{"prompt": f"{a}+1="} for a in range(9)]),
        processing_class=policy.tokenizer,
        rollout_func=LocalRollouts(),
        peft_config=LoraConfig(r=4, target_modules="all-linear"),
    )
    trainer.train()
    found = LocalRollouts()(["1+1="] * 2, trainer)
    for prompt, ids, logprobs in zip(*found.values(), strict=True):
        row = torch.tensor([prompt + ids])
        with torch.no_grad():
            exact = trainer._get_per_token_logps_and_entropies(trainer.model, row, torch.ones_like(row), len(ids))[0]
            with trainer.model.disable_adapter():
                bare = trainer.model(input_ids=row).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        torch.testing.assert_close(torch.tensor(logprobs)[None], exact, rtol=0, atol=1e-5)
        assert not torch.allclose(bare.gather(1, row[0, len(prompt) :, None]).squeeze(1), exact[0], atol=1e-3)


def test_our_decoder_does_not_truncate_in_silence(tmp_path: Path):
    trainer = trainer_of(tmp_path, rollouts=LocalRollouts(), top_p=0.9)
    with pytest.raises(UserError, match="whole distribution"):
        LocalRollouts()(["1+1="], trainer)


def test_evaluation_with_an_lm_loss(tmp_path: Path):
    seen = Seen()
    trainer = trainer_of(
        tmp_path, rewards=[seen], rollouts=LocalRollouts(), lm_alpha=0.5, lm_correct_reward=0.1, max_steps=2,
        per_device_eval_batch_size=8,
    )  # fmt: skip
    trainer.train()
    found = trainer.evaluate(eval_dataset=trainer.train_dataset.select(range(2)))
    assert found["eval_gppo/lm_loss"] >= 0
    assert found["eval_gppo/ratio_mean"] == pytest.approx(1.0)


def test_the_example_runs_and_learns(tmp_path: Path):
    example = Path(__file__).parents[3] / "examples" / "trl_gppo.py"
    run = subprocess.run(
        [sys.executable, example],
        cwd=tmp_path,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    rewards = [float(part.split("'")[0]) for part in run.stdout.split("'rewards/digits/mean': '")[1:]]
    assert len(rewards) >= 10
    assert sum(rewards[-3:]) > 2 * sum(rewards[:3])
