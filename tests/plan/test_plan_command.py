"""Shapes from JSON, machines from words, what fits, and the command without torch."""

import pytest
import yaml

from gppo.config import ModelConfig, Recipe
from gppo.plan import advice, gpus, plan, room, shape_of
from gppo.plan.planner import largest
from gppo.plan.shape import BYTE_VOCABULARY
from gppo.policy import byte_tokenizer, load_policy
from gppo.types import UserError

QWEN = {"path": "Qwen/Qwen3-8B-Base", "dtype": "bfloat16", "max_context": 32_768, "gradient_checkpointing": True}


def rl_recipe(model: dict, **rl: object) -> Recipe:
    sizes = {"stages": [{"name": "math", "data": "none", "steps": 10}], "max_response_tokens": 28_672}
    return Recipe.model_validate({"name": "r", "model": model, "rl": sizes | rl})


@pytest.mark.parametrize("tied", [True, False])
def test_a_tiny_model_has_the_parameters_that_are_counted(tied):
    tiny = {"hidden_size": 32, "layers": 2, "heads": 4, "kv_heads": 2, "tie_embeddings": tied}
    config = ModelConfig.model_validate({"tiny": tiny, "tokenizer": "bytes"})
    assert shape_of(config).parameters == sum(p.numel() for p in load_policy(config, seed=0).model.parameters())
    assert len(byte_tokenizer()) == BYTE_VOCABULARY


def test_a_saved_model_is_read_from_its_folder(tmp_path):
    tiny = {"hidden_size": 32, "layers": 2, "heads": 4, "kv_heads": 2}
    config = ModelConfig.model_validate({"tiny": tiny, "tokenizer": "bytes", "max_context": 64})
    load_policy(config, seed=0).save(tmp_path)
    assert shape_of(ModelConfig(path=str(tmp_path))) == shape_of(config)
    again = ModelConfig.model_validate({"tiny": tiny, "tokenizer": str(tmp_path)})
    assert shape_of(again).vocabulary == BYTE_VOCABULARY


# The makers state 0.6B, 1.7B, 4.0B and 8.2B.
@pytest.mark.parametrize(("name", "billions"), [("0.6B", 0.596), ("1.7B", 1.72), ("4B", 4.02), ("8B", 8.19)])
def test_published_models(name, billions):
    assert shape_of(ModelConfig(path=f"Qwen/Qwen3-{name}")).parameters / 1e9 == pytest.approx(billions, rel=2e-3)


def test_what_cannot_be_known_is_one_sentence(tmp_path):
    with pytest.raises(UserError, match=r"the shape is not known; give a folder with config\.json"):
        shape_of(ModelConfig(path="someone/model"))
    (tmp_path / "config.json").write_text('{"hidden_size": 8}')
    with pytest.raises(UserError, match=r"not the config\.json of a causal"):
        shape_of(ModelConfig(path=str(tmp_path)))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        shape_of(ModelConfig(path=str(tmp_path)))
    with pytest.raises(UserError, match="neither an sft nor an rl section"):
        plan(Recipe.model_validate({"name": "r", "model": QWEN}), gpus("H100"))


def test_machines_from_words():
    machine = gpus("8xH100-80")
    assert (machine.count, machine.name, machine.memory) == (8, "H100", 80 << 30)
    assert gpus("a100").memory == 80 << 30
    for wrong in ("8xTPU", "0xH100", "H100-", "eight"):
        with pytest.raises(UserError, match="write COUNTxKIND-GIB"):
            gpus(wrong)


@pytest.mark.parametrize("edge", [0, 1, 7, 100])
def test_the_largest_that_fits(edge):
    recipe = rl_recipe(QWEN)
    assert largest(recipe, lambda r: r.seed <= edge, lambda r, n: r.model_copy(update={"seed": n}), 100) == edge


def test_each_advice_does_what_it_says():
    recipe = rl_recipe(QWEN | {"path": "Qwen/Qwen3-0.6B"}, sampler_rows=256)
    found = plan(recipe, gpus("A10-24"))
    assert not found.fits
    sentences = advice(found)
    assert sentences
    for sentence in sentences:
        if "which fits" not in sentence:
            continue
        key, value = sentence.removeprefix("set ").split(": ")[:2]
        content = recipe.model_dump()
        section, name = key.split(".")
        content[section][name] = yaml.safe_load(value.split(" ")[0])
        assert plan(Recipe.model_validate(content), gpus("A10-24")).fits, sentence


def test_what_has_room_fits_and_one_more_does_not():
    recipe = rl_recipe(QWEN | {"path": "Qwen/Qwen3-0.6B"}, sampler_rows=16)
    machine = gpus("A10-24")
    longest = room(plan(recipe, machine)).max_response_tokens
    assert longest
    fits = [plan(rl_recipe(dict(recipe.model.model_dump()), sampler_rows=16, max_response_tokens=n), machine).fits
            for n in (longest, min(longest + 1, 28_672))]  # fmt: skip
    assert fits == [True, longest == 28_672]
