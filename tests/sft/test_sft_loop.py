"""Fine-tuning: the gradient is the mean over the batch's tokens, and stopping changes nothing."""

import copy
import os
import signal

import numpy as np
import pytest
import torch

from gppo.config import ModelConfig, Recipe, SFTConfig, TinyConfig
from gppo.policy import Checkpoints, load_policy
from gppo.records import Conversation, write_conversations
from gppo.run import RunFolder
from gppo.run.interrupt import Interrupted
from gppo.sft import encode_samples, train_sft
from gppo.sft.loop import _accumulate, total_steps
from gppo.sft.stage import run_sft
from gppo.types import GppoError, UserError

SHAPE = TinyConfig(hidden_size=32, layers=2, heads=2, kv_heads=1)


def tiny_policy():
    return load_policy(ModelConfig(tiny=SHAPE, tokenizer="bytes", max_context=64), seed=0)


def conversations(count=10):
    return [
        ({"role": "user", "content": f"{i}+1=?"}, {"role": "assistant", "content": "7" * (1 + i % 4) + str(i + 1)})
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def samples():
    return encode_samples(tiny_policy().tokenizer, conversations(), 64)[0]


def config(**over) -> SFTConfig:
    small = {"data": "unused.jsonl", "steps": 5, "batch_size": 4, "save_every": 2, "optimizer": {"learning_rate": 1e-2}}
    return SFTConfig.model_validate(small | over)


def train(folder, samples, asked=None, on_step=lambda *_: None, policy=None):
    policy, run = policy or tiny_policy(), RunFolder.create(folder, "name: sft\n")
    train_sft(policy, samples, asked or config(), run, seed=0, on_step=on_step)
    return policy, run


def same_weights(one, two) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))


def timeless(run):
    return [
        {key: value for key, value in line.items() if key not in ("time", "seconds")} for line in run.read_metrics()
    ]


def naive_loss(model, samples):
    """Cross entropy of the learned tokens over whole logits, in float64."""
    losses = []
    for sample in samples:
        ids, mask = torch.from_numpy(sample.ids_L), torch.from_numpy(sample.mask_L)
        logprobs = model(input_ids=ids[None], use_cache=False).logits[0, :-1].log_softmax(-1)
        losses.append(-logprobs.gather(1, ids[1:, None])[:, 0][mask[1:]])
    return torch.cat(losses).mean()


@pytest.mark.parametrize("budget", [1, 40, 10_000])
def test_the_gradient_is_the_mean_over_tokens_however_the_batch_is_cut(samples, budget):
    policy = tiny_policy()
    loss, tokens = _accumulate(policy, samples, budget)
    model = copy.deepcopy(policy.model).double()
    model.zero_grad()
    expected = naive_loss(model, samples)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    assert tokens == sum(sample.mask_L.sum() for sample in samples)
    for (name, p), q in zip(policy.model.named_parameters(), model.parameters(), strict=True):
        assert float((p.grad - q.grad).norm() / q.grad.norm()) < 1e-5, name


def test_it_learns_and_leaves_a_line_a_step(tmp_path, samples):
    told = []
    _, run = train(tmp_path / "run", samples, config(steps=30), on_step=lambda *what: told.append(what))
    lines = run.read_metrics("sft")
    assert [line["step"] for line in lines] == list(range(1, 31))
    assert lines[0]["loss"] == pytest.approx(np.log(263), abs=0.3)
    assert lines[-1]["loss"] < 1.5
    assert all(line["grad_norm"] > 0 and line["tokens"] > 0 for line in lines)
    assert lines[-1]["learning_rate"] < lines[0]["learning_rate"] == 1e-2
    assert [(step, steps) for step, steps, _ in told] == [(step, 30) for step in range(1, 31)]
    assert [p.name for p in Checkpoints(run.checkpoints / "sft").all()] == ["step-000028", "step-000030"]


def test_every_epoch_shows_each_sample_once(tmp_path, samples):
    shown = []

    class Noting(list):
        def __getitem__(self, index):
            shown.append(int(index))
            return super().__getitem__(index)

    train(tmp_path / "run", Noting(samples), config(steps=5, batch_size=4))
    assert sorted(shown[:10]) == sorted(shown[10:]) == list(range(10))
    assert shown[:10] != shown[10:]


def test_the_number_of_steps():
    assert total_steps(config(steps=7), 10) == 7
    assert total_steps(config(steps=None, epochs=2), 10) == 5
    assert total_steps(config(steps=None, epochs=1), 9) == 3
    assert total_steps(config(steps=None, epochs=0.1), 4) == 1


def test_an_interrupted_run_goes_on_bit_by_bit(tmp_path, samples):
    policy, run = train(tmp_path / "whole", samples)
    with pytest.raises(Interrupted, match="step 3 of 5") as caught:
        train(tmp_path / "parts", samples, on_step=lambda step, *_: step == 3 and os.kill(os.getpid(), signal.SIGINT))
    assert caught.value.exit_status == 130
    again, again_run = train(tmp_path / "parts", samples)
    assert same_weights(policy, again)
    assert timeless(run) == timeless(again_run)


def test_a_killed_run_repeats_the_steps_after_its_checkpoint(tmp_path, samples):
    class Killed(BaseException):
        pass

    def die(step, *_):
        if step == 3:
            raise Killed

    policy, run = train(tmp_path / "whole", samples)
    with pytest.raises(Killed):
        train(tmp_path / "parts", samples, on_step=die)
    again, again_run = train(tmp_path / "parts", samples)
    assert same_weights(policy, again)
    assert timeless(run) == timeless(again_run)


def test_samples_that_changed(tmp_path, samples):
    with pytest.raises(Interrupted):
        train(tmp_path / "run", samples, on_step=lambda step, *_: step == 3 and os.kill(os.getpid(), signal.SIGINT))
    for others in (samples[:-1], [*samples[1:], samples[0]]):
        with pytest.raises(UserError, match=r"the samples of sft\.data are not those that the run began with"):
            train(tmp_path / "run", others)
    train(tmp_path / "run", samples)


def test_a_finished_run_only_loads_its_weights(tmp_path, samples):
    policy, run = train(tmp_path / "run", samples)
    before = run.metrics.read_bytes()
    again, _ = train(tmp_path / "run", samples)
    assert run.metrics.read_bytes() == before
    assert same_weights(policy, again)
    assert not again.model.training


def test_gradients_that_are_no_numbers_stop_the_run(tmp_path, samples):
    policy = tiny_policy()
    with torch.no_grad():
        policy.model.model.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(GppoError, match="not finite in 3 updates in a row"):
        train(tmp_path / "run", samples, policy=policy)
    assert [line["grad_norm"] for line in RunFolder(tmp_path / "run").read_metrics("sft")] == [None, None]


class TestStage:
    def recipe(self, tmp_path, rows=None, **sft):
        rows = conversations() if rows is None else rows
        write_conversations(tmp_path / "sft.jsonl", [Conversation(f"c{i}", turns) for i, turns in enumerate(rows)])
        section = {"data": tmp_path / "sft.jsonl", "steps": 4, "batch_size": 4, "save_every": 2} | sft
        model = {"tiny": SHAPE, "tokenizer": "bytes", "max_context": 64}
        return Recipe.model_validate({"name": "x", "model": model, "sft": section})

    def test_what_is_left_out_is_noted_once(self, tmp_path, caplog):
        long = ({"role": "user", "content": "1" * 70}, {"role": "assistant", "content": "2"})
        recipe = self.recipe(tmp_path, [*conversations(), long])
        for _ in range(2):
            run = RunFolder.create(tmp_path / "run", "name: x\n")
            run_sft(recipe, run, tiny_policy())
        notes = run.read_metrics("info")
        assert [(note["sft_samples"], note["sft_samples_too_long"]) for note in notes] == [(10, 1)]
        assert len(run.read_metrics("sft")) == 4
        assert "1 of 11 samples are longer than 64 tokens" in caplog.text

    def test_bad_rows_are_set_aside_in_the_run(self, tmp_path):
        recipe = self.recipe(tmp_path)
        with recipe.sft.data.open("a") as file:
            file.write("{broken\n")
        run = RunFolder.create(tmp_path / "run", "name: x\n")
        run_sft(recipe, run, tiny_policy())
        assert '"line": 11' in (run.path / "quarantine" / "sft.jsonl").read_text()

    def test_the_context_is_named_where_it_is_what_is_too_short(self, tmp_path):
        long = ({"role": "user", "content": "1" * 70}, {"role": "assistant", "content": "2"})
        run = RunFolder.create(tmp_path / "run", "name: x\n")
        with pytest.raises(UserError, match=r"all 1 samples are longer than 64 tokens .*the model's context"):
            run_sft(self.recipe(tmp_path, [long]), run, tiny_policy())
