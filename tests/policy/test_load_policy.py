"""Where a policy comes from, and one sentence where it cannot."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_models import TOKENIZER, naive_logprobs, random_batch, tiny_model
from tokenizers import AddedToken

from gppo.config.model import ModelConfig, TinyConfig
from gppo.policy import Policy, byte_tokenizer, load_policy, tiny_qwen3
from gppo.types import UserError

SMALL = TinyConfig(hidden_size=32, layers=1, heads=4, kv_heads=2)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A folder with a model, its tokenizer and its chat template."""
    folder = tmp_path / "model"
    Policy(tiny_model("Qwen3"), TOKENIZER).save(folder)
    return folder


def _refusal(**config) -> str:
    with pytest.raises(UserError) as caught:
        load_policy(ModelConfig(**config), seed=0)
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message
    assert not message.endswith((":", "."))
    assert ": ;" not in message
    return message


def test_what_was_saved_is_loaded(saved):
    policy = load_policy(ModelConfig(path=str(saved)), seed=0)
    expected = tiny_model("Qwen3").state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in policy.model.state_dict().items())
    assert policy.tokenizer.chat_template == TOKENIZER.chat_template
    assert policy.stop_ids == (TOKENIZER.eos_token_id,)
    assert policy.max_context == 128


def test_weights_take_the_precision_of_the_recipe(saved):
    for source in ({"path": str(saved)}, {"tiny": SMALL, "tokenizer": "bytes"}):
        policy = load_policy(ModelConfig(**source, dtype="bfloat16"), seed=0)
        assert {p.dtype for p in policy.model.parameters()} == {torch.bfloat16}


def test_a_model_whose_rows_must_be_padded_is_named_once_with_the_reason(saved, caplog):
    load_policy(ModelConfig(path=str(saved)), seed=0)
    assert not caplog.records
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"attention_dropout": 0.1}))
    load_policy(ModelConfig(path=str(saved)), seed=0)
    (record,) = caplog.records
    assert "padded" in record.message
    assert "dropout" in record.message


def test_a_model_whose_generation_settings_contradict_themselves_can_be_saved_again(saved, tmp_path):
    # Many a published folder holds them, and a checkpoint must not fail for it hours later.
    sloppy = {"eos_token_id": [7, 257], "do_sample": False, "temperature": 0.6}
    (saved / "generation_config.json").write_text(json.dumps(sloppy))
    policy = load_policy(ModelConfig(path=str(saved)), seed=0)
    assert policy.stop_ids == tuple(sorted({7, 257, TOKENIZER.eos_token_id}))
    policy.save(tmp_path / "again")
    assert load_policy(ModelConfig(path=str(tmp_path / "again")), seed=0).stop_ids == policy.stop_ids


def test_a_model_of_text_and_images_is_used_for_its_text(tmp_path):
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    text = {"vocab_size": 263, "head_dim": 8, "max_position_embeddings": 96, "num_key_value_heads": 2}
    vision = {"image_size": 28, "patch_size": 14}
    Policy(
        tiny_model("Gemma3", text_config=shape | text, vision_config=shape | vision, eos_token_id=261), TOKENIZER
    ).save(tmp_path)
    policy = load_policy(ModelConfig(path=str(tmp_path)), seed=0)
    assert policy.max_context == 96
    batch = random_batch()
    expected_BT = naive_logprobs(policy, batch) * torch.from_numpy(batch.mask_BT)
    torch.testing.assert_close(policy.logprobs(batch)[0], expected_BT, rtol=1e-5, atol=1e-5)


def test_a_family_without_sdpa_loads(tmp_path):
    # Gemma2 caps its attention scores, which sdpa cannot.
    Policy(tiny_model("Gemma2", head_dim=8), TOKENIZER).save(tmp_path)
    assert load_policy(ModelConfig(path=str(tmp_path)), seed=0).model.config.model_type == "gemma2"


def test_the_context_is_the_recipes_where_it_gives_one(saved):
    assert load_policy(ModelConfig(path=str(saved), max_context=50), seed=0).max_context == 50
    tiny = ModelConfig(tiny=SMALL, tokenizer="bytes", max_context=77)
    assert load_policy(tiny, seed=0).max_context == 77
    message = _refusal(path=str(saved), max_context=129)
    assert "129" in message
    assert "128" in message


def test_gradient_checkpointing_is_turned_on(saved):
    policy = load_policy(ModelConfig(path=str(saved), gradient_checkpointing=True), seed=0)
    layers = [m for m in policy.model.modules() if getattr(m, "gradient_checkpointing", False)]
    assert layers


def test_a_tiny_model_is_the_seeds_and_leaves_torchs_generator():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (tiny_qwen3(SMALL, TOKENIZER, seed=s).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert not torch.equal(one["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_a_tiny_model_has_the_shape_asked_for():
    config = TinyConfig(hidden_size=24, layers=3, heads=6, kv_heads=3, intermediate_size=40, tie_embeddings=False)
    model = tiny_qwen3(config, TOKENIZER, seed=0, max_context=99)
    layer = model.model.layers[0]
    assert len(model.model.layers) == 3
    assert layer.self_attn.k_proj.weight.shape == (12, 24)
    assert layer.mlp.up_proj.weight.shape == (40, 24)
    assert model.lm_head.weight is not model.model.embed_tokens.weight
    assert model.config.max_position_embeddings == 99
    tied = tiny_qwen3(SMALL, TOKENIZER, seed=0)
    assert tied.lm_head.weight is tied.model.embed_tokens.weight
    assert tied.model.layers[0].mlp.up_proj.weight.shape == (96, 32)


@pytest.mark.parametrize("path", ["/no/such/folder", "./no/such", "../no", "a/b/c", "~/no-such-folder"])
def test_a_missing_folder_is_named_and_the_hub_is_not_asked(path):
    message = _refusal(path=path)
    assert path in message
    assert "does not exist" in message


def test_a_hub_id_that_cannot_be_reached(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = _refusal(path="nobody/no-such-model-0")
    assert "nobody/no-such-model-0" in message


def test_folders_that_hold_only_a_part(saved, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "config.json" in _refusal(path=str(empty))

    no_weights = shutil.copytree(saved, tmp_path / "no_weights")
    (no_weights / "model.safetensors").unlink()
    assert str(no_weights) in _refusal(path=str(no_weights))

    no_tokenizer = tmp_path / "no_tokenizer"
    tiny_model("Qwen3").save_pretrained(no_tokenizer)
    message = _refusal(path=str(no_tokenizer))
    assert "tokenizer" in message
    assert load_policy(ModelConfig(path=str(no_tokenizer), tokenizer="bytes"), seed=0)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"{", b'{"model_type": "nothing-known"}'])
def test_broken_files(saved, file, content):
    (saved / file).write_bytes(content)
    assert str(saved) in _refusal(path=str(saved))


def test_weights_that_were_cut_off(saved):
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    assert str(saved) in _refusal(path=str(saved))


def test_weights_of_another_shape_or_with_parts_missing(saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    assert str(saved) in _refusal(path=str(saved))
    # A layer more than the weights have would silently start from random numbers.
    more = config | {"num_hidden_layers": 3, "layer_types": ["full_attention"] * 3}
    (saved / "config.json").write_text(json.dumps(more))
    message = _refusal(path=str(saved))
    assert "model.layers.2" in message


def test_a_tokenizer_that_is_larger_than_the_model(saved, tmp_path):
    larger = byte_tokenizer()
    larger.add_tokens([AddedToken(f"<extra{i}>") for i in range(5)])
    larger.save_pretrained(tmp_path / "larger")
    message = _refusal(path=str(saved), tokenizer=str(tmp_path / "larger"))
    assert "268" in message
    assert "263" in message


def test_a_tokenizer_without_an_end():
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    model = tiny_model("Qwen3")
    model.generation_config.eos_token_id = None
    with pytest.raises(UserError, match="end-of-text"):
        Policy(model, tokenizer)
    model.generation_config.eos_token_id = [7, 3]
    assert Policy(model, tokenizer).stop_ids == (3, 7)
    assert Policy(model, TOKENIZER).stop_ids == (3, 7, TOKENIZER.eos_token_id)
