"""A checkpoint is there in full or not at all, and comes back bit by bit."""

import copy
import json
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest
import torch
from tiny_models import TOKENIZER, random_batch, tiny_model, tiny_policy

from gppo.config.model import ModelConfig
from gppo.config.optimizer import OptimizerConfig
from gppo.policy import Checkpoints, Optimizer, Policy, load_policy
from gppo.policy._snapshot import join, read_tensors, split, write_tensors
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
    monkeypatch.setattr(
        policy.model, "save_pretrained", lambda folder, **kw: whole(folder, max_shard_size="20KB", **kw)
    )
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
        (folder / "manifest.json").write_text("{}")
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


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 1  # in a safetensors file, a weight: nothing but a checksum can tell
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [_cut, _flip_a_bit, Path.unlink])
@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_a_damaged_file_is_a_sentence(written, file, damage):
    _, path = written
    damage(path / file)
    policy = tiny_policy(seed=5)
    before = _weights(policy)
    with pytest.raises(UserError, match=path.name) as caught:
        Checkpoints.load(path, policy, _optimizer(policy))
    assert "\n" not in str(caught.value)
    assert _same(_weights(policy), before)


def test_a_full_disk_leaves_the_checkpoint_before(full_disk, monkeypatch):
    # 64 KiB: a stand-in for the model's folder fits once.
    policy = tiny_policy()
    big = tiny_model("Qwen3")
    checkpoints = Checkpoints(full_disk, keep=1)
    monkeypatch.setattr(policy, "save", lambda folder, _: (folder / "model.safetensors").write_bytes(b"x" * 10_000))
    optimizer = Optimizer(torch.nn.Linear(2, 2), OptimizerConfig(), 1)
    first = checkpoints.save(1, policy, optimizer, {})
    content = {p.name: p.read_bytes() for p in first.iterdir()}

    monkeypatch.setattr(policy, "save", lambda folder, _: big.save_pretrained(folder))  # safetensors meets the end
    with pytest.raises(GppoError, match=r"could not be written.*step-000001 is whole") as caught:
        checkpoints.save(2, policy, optimizer, {})
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(policy, "save", lambda folder, _: None)  # the optimizer's file meets it
    with pytest.raises(GppoError, match="step-000001 is whole"):
        checkpoints.save(3, policy, _optimizer_with_moments(policy), {})
    monkeypatch.setattr(policy, "save", lambda folder, _: (folder / "tokenizer.json").write_bytes(b"x" * 100_000))
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


@pytest.mark.parametrize("damage", [_cut, _flip_a_bit, Path.unlink])
def test_the_one_before_a_damaged_checkpoint_is_used(tmp_path, caplog, damage):
    policy = tiny_policy()
    optimizer = _optimizer(policy)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, policy, optimizer, {"note": "good"})
    at_one = _weights(policy)
    _train(policy, optimizer, range(1))
    damage(checkpoints.save(2, policy, optimizer, {"note": "bad"}) / "model.safetensors")
    other = tiny_policy(seed=5)
    assert checkpoints.restore(other, _optimizer(other)) == {"step": 1, "note": "good"}
    assert _same(_weights(other), at_one)
    [message] = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"the checkpoint {tmp_path / 'step-000002'} is damaged (")
    assert "model.safetensors" in message
    assert message.endswith("looking at the one before")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["damaged-step-000002", "step-000001"]
    checkpoints.save(2, policy, optimizer, {"note": "again"})
    assert Checkpoints(tmp_path).restore(other, _optimizer(other))["note"] == "again"


def test_where_all_are_damaged_nothing_starts_anew_in_silence(written):
    checkpoints, path = written
    _flip_a_bit(path / "model.safetensors")
    policy = tiny_policy()
    for _ in range(2):  # the same when it is tried again
        with pytest.raises(
            GppoError, match=r"every checkpoint is damaged \(step-000001: the checksum of model"
        ) as caught:
            checkpoints.restore(policy, _optimizer(policy))
        assert caught.value.exit_status == 1


def test_without_checkpoints_there_is_nothing_to_restore(tmp_path):
    policy = tiny_policy()
    assert Checkpoints(tmp_path / "none").restore(policy, _optimizer(policy)) is None


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    """What is written are the weights and moments of the moment at which it was asked for."""
    policy = tiny_policy()
    optimizer = _optimizer(policy)
    _train(policy, optimizer, range(1))
    at_one, moments = _weights(policy), copy.deepcopy(optimizer.state_dict())
    go_on, save = threading.Event(), policy.save

    def held(folder, weights):
        assert go_on.wait(60)
        save(folder, weights)

    monkeypatch.setattr(policy, "save", held)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.start(1, policy, optimizer, {})
        _train(policy, optimizer, range(1, 3))  # the writer has not even begun
        assert checkpoints.latest() is None
        go_on.set()
    other = tiny_policy(seed=5)
    loaded = _optimizer(other)
    Checkpoints.load(tmp_path / "step-000001", other, loaded)
    assert _same(_weights(other), at_one)
    assert not _same(_weights(policy), at_one)
    for index, found in loaded.state_dict()["adamw"]["state"].items():
        for name, value in found.items():
            assert torch.equal(value, moments["adamw"]["state"][index][name]), name
    assert loaded.state_dict()["adamw"]["param_groups"] == moments["adamw"]["param_groups"]


def test_what_goes_wrong_in_the_background_is_said_once(tmp_path, monkeypatch, caplog):
    policy = tiny_policy()
    optimizer = _optimizer(policy)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, policy, optimizer, {})

    def full(folder, weights):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(policy, "save", full)
    checkpoints.check()
    checkpoints.start(2, policy, optimizer, {})
    wait([checkpoints._writing])
    with pytest.raises(GppoError, match=r"No space left on device.*step-000001 is whole: free some space"):
        checkpoints.check()
    checkpoints.check()

    # Where the run ends for another reason, that reason is the error and this one a note.
    def ends():
        with checkpoints:
            checkpoints.start(3, policy, optimizer, {})
            raise KeyError

    with pytest.raises(KeyError):
        ends()
    assert "No space left" in caplog.text
    # And leaving the block in peace waits for the writer and says it.
    with pytest.raises(GppoError, match="No space left"), Checkpoints(tmp_path) as other:
        other.start(4, policy, optimizer, {})


def test_the_best_stay_beside_the_newest(tmp_path):
    policy = tiny_policy()
    optimizer = _optimizer(policy)
    checkpoints = Checkpoints(tmp_path, keep=1, keep_best=2)
    for step, score in enumerate([0.1, 0.7, float("nan"), 0.5, None, 0.6, 0.2, None], start=1):
        checkpoints.save(step, policy, optimizer, {})
        if score is not None:
            checkpoints.score(step, score)
    assert [p.name for p in checkpoints.all()] == ["step-000002", "step-000006", "step-000008"]
    other = tiny_policy(seed=5)
    assert Checkpoints.load(tmp_path / "step-000002", other, _optimizer(other)) == {"step": 2}


@pytest.mark.parametrize(
    "value",
    [
        {"a": {0: torch.arange(3.0), 7: {"step": torch.tensor(2.0)}}, "b": [1, (2.5, None)], "c": "x", "d": {}},
        {},
        [],
        torch.zeros(2, 0),
    ],
)
def test_nested_values_come_back(value, tmp_path):
    plan, tensors = split(value)
    write_tensors(tmp_path / "file", json.dumps(plan), tensors)
    text, found = read_tensors(tmp_path / "file", torch.device("cpu"))
    again = join(json.loads(text), found)
    assert str(again) == str(value)
    assert type(again) is type(value)
