"""Adapters: what they compute, that nothing else is trained, and that they come back and can be merged."""

import copy
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tiny_models import TOKENIZER, gradients, naive_logprobs, random_batch, tiny_model, worst_relative
from transformers import AutoModelForCausalLM

from gppo.config import LoRAConfig, ModelConfig, Recipe, TinyConfig
from gppo.config.optimizer import OptimizerConfig
from gppo.policy import Checkpoints, Optimizer, Policy, export_model, load_policy
from gppo.policy.lora import add_adapters, low_rank, merge_adapters
from gppo.policy.memory import with_checkpointing
from gppo.types import UserError

SHAPE = TinyConfig(hidden_size=32, layers=2, heads=2, kv_heads=1)
SOME = LoRAConfig(rank=4, alpha=6, target_modules=["q_proj", "down_proj"])


def _policy(family: str = "Qwen3", lora: LoRAConfig | None = None, stir: bool = True, **options) -> Policy:
    model = tiny_model(family, **options)
    add_adapters(model, lora or LoRAConfig(rank=4, alpha=6), seed=3)
    if stir:
        _stir(model)
    return Policy(model, TOKENIZER)


def _stir(model: torch.nn.Module, seed: int = 5) -> None:
    """Away from the beginning, at which B = 0 hides everything."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def _train(policy: Policy, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        policy.logprobs(random_batch(seed=step))[0].sum().neg().backward()
        optimizer.step(at=step)


def _optimizer(policy: Policy) -> Optimizer:
    return Optimizer(policy.model, OptimizerConfig(learning_rate=1e-2), total_steps=10)


def test_the_beginning_is_the_model_itself_and_follows_the_seed():
    bare, one, two, other = (tiny_model("Qwen3") for _ in range(4))
    state = torch.get_rng_state()
    add_adapters(one, SOME, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    add_adapters(two, SOME, seed=1)
    add_adapters(other, SOME, seed=2)
    ids = torch.arange(5, 25)[None]
    assert torch.equal(one(input_ids=ids).logits, bare(input_ids=ids).logits)
    a, b, c = (
        dict(m.named_parameters())["model.layers.0.self_attn.q_proj.lora_A.default.weight"] for m in (one, two, other)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_logits_by_hand():
    policy = _policy(lora=SOME)
    by_hand = tiny_model("Qwen3")
    adapters = {name: p for name, p in policy.model.named_parameters() if p.requires_grad}
    assert len(adapters) == 2 * 2 * 2  # layers, named modules, A and B
    with torch.no_grad():
        for name, down in adapters.items():
            if ".lora_A." in name:
                up = adapters[name.replace("lora_A", "lora_B")]
                by_hand.get_submodule(name.removesuffix(".lora_A.default.weight")).weight += 6 / 4 * (up @ down)
    ids = torch.arange(5, 25)[None]
    torch.testing.assert_close(policy.model(input_ids=ids).logits, by_hand(input_ids=ids).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", ["Qwen3", "Llama", "Qwen2"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_packed_chunked_gradients_are_naive_autograds(family: str, checkpointing: bool):
    policy, batch = _policy(family), random_batch()
    assert policy.unfused_reason is None
    assert policy.unpacked_reason is None
    naive_logprobs(policy, batch).sum().backward()
    expected = gradients(policy)
    assert all(".lora_" in name for name in expected)
    if checkpointing:
        with_checkpointing(policy.model)
    policy.model.train()
    policy.logprobs(batch)[0].sum().backward()
    assert worst_relative(gradients(policy), expected) < 1e-4


def test_only_adapters_are_trained():
    policy = _policy()
    before = {name: value.clone() for name, value in policy.model.state_dict().items()}
    _train(policy, _optimizer(policy), range(2))
    changed = {name for name, value in policy.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if ".lora_" in name} == set(policy.trained())


def test_adapters_are_float32_beside_half_precision():
    policy = _policy(dtype=torch.bfloat16)
    kinds = {(p.dtype, p.requires_grad) for p in policy.model.parameters()}
    assert kinds == {(torch.float32, True), (torch.bfloat16, False)}
    assert torch.isfinite(policy.logprobs(random_batch())[0]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_continues_bit_by_bit_from_adapters_alone(dtype: torch.dtype, tmp_path: Path):
    whole = _policy(stir=False, dtype=dtype)
    optimizer = _optimizer(whole)
    _train(whole, optimizer, range(3))
    with Checkpoints(tmp_path) as checkpoints:
        path = checkpoints.save(3, whole, optimizer, {"x": 1})
    size = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    trained = sum(tensor.nbytes for tensor in whole.trained().values())
    assert 3 * trained < size < 3 * trained + 40_000  # adapters and two moments, and the names
    _train(whole, optimizer, range(3, 6))

    resumed = _policy(stir=False, dtype=dtype)
    again = _optimizer(resumed)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore(resumed, again) == {"step": 3, "x": 1}
    _train(resumed, again, range(3, 6))
    one, two = whole.model.state_dict(), resumed.model.state_dict()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_checkpoint_is_an_adapter_that_peft_reads_and_computes_alike(tmp_path: Path):
    policy = _policy()
    path = Checkpoints(tmp_path).save(1, policy, _optimizer(policy), {})
    theirs = PeftModel.from_pretrained(tiny_model("Qwen3"), path)
    ids = torch.arange(5, 25)[None]
    torch.testing.assert_close(theirs(input_ids=ids).logits, policy.model(input_ids=ids).logits, rtol=0, atol=1e-5)


def test_a_merged_export_gives_the_same_logits(tmp_path: Path):
    policy = _policy()
    checkpoint = Checkpoints(tmp_path / "checkpoints").save(1, policy, _optimizer(policy), {})
    ids = torch.arange(5, 25)[None]
    expected = policy.model(input_ids=ids).logits
    export_model(checkpoint, _policy(stir=False), tmp_path / "out")
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert not any("lora" in name or "base_layer" in name for name in whole.state_dict())
    torch.testing.assert_close(whole(input_ids=ids).logits, expected, rtol=0, atol=1e-5)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoints", "out"}
    loaded = load_policy(ModelConfig(path=str(tmp_path / "out")), seed=0)
    assert loaded.tokenizer.chat_template == TOKENIZER.chat_template


def test_a_merged_model_is_one_like_any_other():
    policy = _policy()
    merged = copy.deepcopy(policy.model)
    merge_adapters(merged)
    assert merged.state_dict().keys() == tiny_model("Qwen3").state_dict().keys()
    assert low_rank(merged.model.layers[0].self_attn.q_proj) is None


def test_an_export_of_a_run_without_adapters_is_its_checkpoint(tmp_path: Path):
    policy = Policy(tiny_model("Qwen3"), TOKENIZER)
    checkpoint = Checkpoints(tmp_path / "checkpoints").save(1, policy, _optimizer(policy), {})
    export_model(checkpoint, Policy(tiny_model("Qwen3", seed=9), TOKENIZER), tmp_path / "out")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(value, found[name]) for name, value in policy.model.state_dict().items())
    with pytest.raises(UserError, match="exists already"):
        export_model(checkpoint, policy, tmp_path / "out")


def test_checkpoints_of_the_other_kind_are_refused(tmp_path: Path):
    adapted, bare = _policy(), Policy(tiny_model("Qwen3"), TOKENIZER)
    of_adapters = Checkpoints(tmp_path / "a").save(1, adapted, _optimizer(adapted), {})
    of_weights = Checkpoints(tmp_path / "b").save(1, bare, _optimizer(bare), {})
    for path, policy in ((of_adapters, bare), (of_weights, adapted), (of_adapters, _policy(lora=SOME))):
        with pytest.raises(UserError, match="do not fit the model of the recipe"):
            Checkpoints.load(path, policy, _optimizer(policy))
    with pytest.raises(UserError, match="holds adapters and no whole model"):
        load_policy(ModelConfig(path=str(of_adapters)), seed=0)


@pytest.mark.parametrize("module", ["lm_head", "embed_tokens"])
def test_the_head_and_the_embedding_stay_without(module: str):
    with pytest.raises(UserError, match="names the head or the embedding"):
        add_adapters(tiny_model("Qwen3"), LoRAConfig(target_modules=["q_proj", module]), seed=0)


def test_a_layer_that_does_not_exist_is_named():
    with pytest.raises(UserError, match=r"qproj.*names no linear layer"):
        add_adapters(tiny_model("Qwen3"), LoRAConfig(target_modules=["qproj"]), seed=0)


def test_without_peft_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"pip install 'gppo\[lora\]'"):
        add_adapters(tiny_model("Qwen3"), SOME, seed=0)


def test_from_a_recipe():
    model = {"tiny": SHAPE.model_dump(), "tokenizer": "bytes", "lora": {"rank": 2}}
    policy = load_policy(ModelConfig.model_validate(model), seed=0)
    trained = policy.trained()
    assert len(trained) == 2 * 7 * 2  # layers, every linear layer but the head, A and B
    assert {min(tensor.shape) for tensor in trained.values()} == {2}
    stages = {
        "stages": [{"name": "x", "data": "x.jsonl", "steps": 1}],
        "max_prompt_tokens": 8,
        "max_response_tokens": 8,
    }
    with pytest.raises(ValueError, match="set dtype to bfloat16"):
        ModelConfig.model_validate(model | {"dtype": "mixed"})
    noisy = model | {"lora": {"dropout": 0.1}}
    assert Recipe.model_validate({"name": "x", "model": noisy}).model.lora.dropout == 0.1
    with pytest.raises(ValueError, match="would measure its noise"):
        Recipe.model_validate({"name": "x", "model": noisy, "rl": stages})
