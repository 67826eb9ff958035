"""A checkpoint is there in full or not at all, and comes back bit by bit."""

import json
from pathlib import Path

import pytest
import torch
from tiny_models import TOKENIZER, random_batch, tiny_model, tiny_policy

from gppo.config.model import ModelConfig
from gppo.config.optimizer import OptimizerConfig
from gppo.policy import Checkpoints, Optimizer, Policy, load_policy
from gppo.types import GppoError, UserError

MOE = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


def _optimizer(policy: Policy) -> Optimizer:
    return Optimizer(policy.model, OptimizerConfig(learning_rate=1e-2), total_steps=10)


def _train(policy: Policy, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        logprobs_BT, _ = policy.logprobs(random_batch(seed=step))
        logprobs_BT.sum().neg().backward()
        optimizer.step(at=step)


def _weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in policy.model.state_dict().items()}


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Checkpoints, Path]:
    """A checkpoint of an untrained Qwen3."""
    policy = tiny_policy()
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    return checkpoints, checkpoints.save(1, policy, _optimizer(policy), {})


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("Qwen3", {"tie_word_embeddings": True}),
        ("Qwen3", {"tie_word_embeddings": False}),
        ("Qwen3", {"dtype": torch.bfloat16}),
        ("Qwen3Moe", MOE),
        ("Gemma2", {"head_dim": 8}),
    ],
)
def test_training_continues_bit_by_bit(tmp_path, family, options):
    whole = tiny_policy(family, **options)
    optimizer = _optimizer(whole)
    _train(whole, optimizer, range(2))
    at_two = _weights(whole)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    path = checkpoints.save(2, whole, optimizer, {"stage": "math", "position": [3, 4]})
    assert _same(_weights(whole), at_two)  # saving changes nothing
    _train(whole, optimizer, range(2, 4))

    resumed = tiny_policy(family, seed=9, **options)
    fresh = _optimizer(resumed)
    state = checkpoints.load(path, resumed, fresh)
    assert state == {"step": 2, "stage": "math", "position": [3, 4]}
    assert _same(_weights(resumed), at_two)
    assert fresh.steps == 2
    _train(resumed, fresh, range(2, 4))
    assert _same(_weights(resumed), _weights(whole))


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_model_stays_tied_and_the_optimizer_keeps_its_parameters(tmp_path, tied):
    policy = tiny_policy(tie_word_embeddings=tied)
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(1, policy, _optimizer(policy), {})
    other = tiny_policy(seed=5, tie_word_embeddings=tied)
    optimizer = _optimizer(other)
    parameters = list(other.model.parameters())
    checkpoints.load(path, other, optimizer)
    assert (other.model.lm_head.weight is other.model.model.embed_tokens.weight) is tied
    assert all(a is b for a, b in zip(parameters, other.model.parameters(), strict=True))
    assert _same(_weights(other), _weights(policy))
    # It trains the weights that were loaded.
    before = other.model.lm_head.weight.detach().clone()
    _train(other, optimizer, range(1))
    assert not torch.equal(other.model.lm_head.weight, before)


def test_a_checkpoint_is_a_model_folder(written):
    _, path = written
    policy = load_policy(ModelConfig(path=str(path)), seed=0)
    assert _same(_weights(policy), _weights(tiny_policy()))
    assert policy.tokenizer.chat_template == TOKENIZER.chat_template


def test_weights_in_several_files(tmp_path, monkeypatch):
    policy = tiny_policy(tie_word_embeddings=False)
    whole = policy.model.save_pretrained
    monkeypatch.setattr(policy.model, "save_pretrained", lambda folder: whole(folder, max_shard_size="20KB"))
    checkpoints = Checkpoints(tmp_path)
    path = checkpoints.save(1, policy, _optimizer(policy), {})
    assert (path / "model.safetensors.index.json").is_file()
    other = tiny_policy(seed=5, tie_word_embeddings=False)
    checkpoints.load(path, other, _optimizer(other))
    assert _same(_weights(other), _weights(policy))


def test_only_the_newest_stay(tmp_path):
    policy = tiny_policy()
    optimizer = _optimizer(policy)
    checkpoints = Checkpoints(tmp_path / "a" / "b", keep=2)
    assert checkpoints.latest() is None
    assert checkpoints.all() == []
    for step in (5, 20, 100):
        checkpoints.save(step, policy, optimizer, {})
    assert [p.name for p in checkpoints.all()] == ["step-000020", "step-000100"]
    assert checkpoints.latest().name == "step-000100"
    assert sorted(p.name for p in checkpoints.folder.iterdir()) == ["step-000020", "step-000100"]


def test_steps_are_ordered_as_numbers(tmp_path):
    for step in (999_999, 1_000_000, 20):
        folder = tmp_path / f"step-{step:06d}"
        folder.mkdir()
        (folder / "state.json").write_text("{}")
    assert Checkpoints(tmp_path).latest().name == "step-1000000"


def test_saving_a_step_again_replaces_it(tmp_path):
    policy = tiny_policy()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(3, policy, _optimizer(policy), {"note": "first"})
    path = checkpoints.save(3, policy, _optimizer(policy), {"note": "second"})
    assert json.loads((path / "state.json").read_text())["note"] == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["step-000003"]


def test_a_folder_that_is_not_whole_does_not_count_and_is_cleared_away(written):
    checkpoints, path = written
    half = checkpoints.folder / ".writing-000002"
    half.mkdir()
    (half / "state.json").write_text("{}")
    (checkpoints.folder / "step-000003").mkdir()
    assert checkpoints.latest() == path
    policy = tiny_policy()
    checkpoints.save(4, policy, _optimizer(policy), {})
    assert not half.exists()


def test_a_removal_that_was_cut_short_leaves_no_false_checkpoint(written, monkeypatch):
    checkpoints, path = written
    policy = tiny_policy()
    emptied = []

    def dies(folder, **_):
        if Path(folder).exists():
            emptied.append(folder)
            (Path(folder) / "model.safetensors").unlink()  # and the machine stops here
            raise KeyboardInterrupt

    monkeypatch.setattr("gppo.policy.checkpoint.shutil.rmtree", dies)
    with pytest.raises(KeyboardInterrupt):
        Checkpoints(checkpoints.folder, keep=1).save(2, policy, _optimizer(policy), {})
    assert emptied
    assert [p.name for p in checkpoints.all()] == ["step-000002"]
    assert not path.exists()


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("Qwen3", {"hidden_size": 64}),
        ("Qwen3", {"num_hidden_layers": 3}),
        ("Qwen3", {"num_hidden_layers": 1}),
        ("Llama", {}),
        ("GPTNeoX", {}),
    ],
)
def test_another_architecture_is_a_sentence(written, family, options):
    _, path = written
    other = tiny_policy(family, **options)
    before = _weights(other)
    with pytest.raises(UserError, match="do not fit the model of the recipe") as caught:
        Checkpoints.load(path, other, _optimizer(other))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert _same(_weights(other), before)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.pt"])
def test_a_damaged_file_is_a_sentence(written, file):
    _, path = written
    (path / file).write_bytes((path / file).read_bytes()[:100])
    policy = tiny_policy(seed=5)
    before = _weights(policy)
    with pytest.raises(UserError, match=path.name) as caught:
        Checkpoints.load(path, policy, _optimizer(policy))
    assert "\n" not in str(caught.value)
    assert _same(_weights(policy), before)


def test_code_in_an_optimizer_file_is_not_run(written):
    _, path = written
    torch.save({"adamw": Path("/")}, path / "optimizer.pt")  # any object that is not a tensor or a plain value
    policy = tiny_policy()
    with pytest.raises(UserError, match=r"optimizer\.pt"):
        Checkpoints.load(path, policy, _optimizer(policy))


def test_a_full_disk_leaves_the_checkpoint_before(full_disk, monkeypatch):
    # 64 KiB: a stand-in for the model's folder fits once.
    policy = tiny_policy()
    big = tiny_model("Qwen3")
    checkpoints = Checkpoints(full_disk, keep=1)
    monkeypatch.setattr(policy, "save", lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 10_000))
    optimizer = Optimizer(torch.nn.Linear(2, 2), OptimizerConfig(), 1)
    first = checkpoints.save(1, policy, optimizer, {})
    content = {p.name: p.read_bytes() for p in first.iterdir()}

    monkeypatch.setattr(policy, "save", lambda folder: big.save_pretrained(folder))  # safetensors meets the end
    with pytest.raises(GppoError, match=r"could not be written.*step-000001 is whole") as caught:
        checkpoints.save(2, policy, optimizer, {})
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(policy, "save", lambda folder: None)  # torch.save meets it
    with pytest.raises(GppoError, match="step-000001 is whole"):
        checkpoints.save(3, policy, _optimizer_with_moments(policy), {})
    monkeypatch.setattr(policy, "save", lambda folder: (folder / "tokenizer.json").write_bytes(b"x" * 100_000))
    with pytest.raises(GppoError, match="step-000001 is whole"):
        checkpoints.save(4, policy, optimizer, {})

    assert checkpoints.latest() == first
    assert {p.name: p.read_bytes() for p in first.iterdir()} == content
    assert [p.name for p in full_disk.iterdir()] == ["step-000001"]


def _optimizer_with_moments(policy: Policy) -> Optimizer:
    optimizer = _optimizer(policy)
    _train(policy, optimizer, range(1))
    return optimizer


def test_a_full_disk_with_nothing_before(full_disk):
    policy = tiny_policy()
    with pytest.raises(GppoError, match="none before it"):
        Checkpoints(full_disk).save(1, policy, _optimizer(policy), {})
    assert list(full_disk.iterdir()) == []
