"""Matrices of one input lie in one stretch of memory, and are still the parameters that they were."""

import copy

import pytest
import torch
from tiny_models import TOKENIZER, tiny_model, tiny_policy
from torch import nn

from gppo.config import LoRAConfig, ModelConfig, TinyConfig
from gppo.config.optimizer import OptimizerConfig
from gppo.policy import Optimizer, Policy, join_matrices, load_policy
from gppo.policy.family import layer_of
from gppo.policy.lora import add_adapters
from gppo.policy.together import lay_together, together


def _parameters(*rows: int) -> list[nn.Parameter]:
    return [nn.Parameter(torch.randn(n, 3)) for n in rows]


def _arity(policy: Policy) -> set[tuple[int, int]]:
    layers = [layer_of(layer, policy.compute_dtype, joined=True) for layer in policy.model.model.layers]
    return {(len(layer.qkv), len(layer.gate_up)) for layer in layers}


def _loaded(**options) -> Policy:
    shape = TinyConfig(hidden_size=32, layers=2, heads=4, kv_heads=2)
    return load_policy(ModelConfig(tiny=shape, tokenizer="bytes", **({"dtype": "float32"} | options)), seed=0)


def test_parameters_keep_their_values_and_share_one_memory():
    parameters = _parameters(4, 2, 1)
    before = [parameter.detach().clone() for parameter in parameters]
    lay_together(parameters)
    for parameter, value in zip(parameters, before, strict=True):
        assert torch.equal(parameter, value)
        assert parameter.is_leaf
        assert parameter.requires_grad
    joined = together(parameters)
    assert torch.equal(joined, torch.cat(before))
    with torch.no_grad():
        parameters[1].fill_(7.0)
    assert torch.equal(joined[4:6], torch.full((2, 3), 7.0))
    assert not joined.requires_grad


def test_what_lies_together_stays_where_it_is():
    parameters = _parameters(4, 2)
    lay_together(parameters)
    places = [parameter.data_ptr() for parameter in parameters]
    lay_together(parameters)
    assert [parameter.data_ptr() for parameter in parameters] == places


def test_what_does_not_lie_together_is_not_taken_for_one():
    one, two = torch.zeros(5, 3).split([3, 2])
    assert together([one, two]).shape == (5, 3)
    assert together([two, one]) is None
    assert together([one, torch.zeros(2, 3)]) is None
    assert together([one, two.view(3, 2)]) is None
    assert together([one, two.view(torch.int32)]) is None
    assert together(torch.zeros(6, 3).split([2, 2, 2])[::2]) is None  # a gap
    assert together(torch.zeros(3, 5).t().split([3, 2])) is None  # by columns


@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_has_one_matrix_for_each_input(bias):
    policy = tiny_policy("Qwen3", attention_bias=bias)
    assert _arity(policy) == {(3, 2)}
    join_matrices(policy)
    assert _arity(policy) == {(1, 1)}
    for layer in policy.model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        projections = attention.q_proj, attention.k_proj, attention.v_proj
        joined, apart = layer_of(layer, torch.float32, joined=True), layer_of(layer, torch.float32)
        assert torch.equal(joined.qkv[0], torch.cat([projection.weight for projection in projections]))
        assert torch.equal(joined.gate_up[0], torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]))
        assert (joined.qkv_bias[0] is not None) == bias
        if bias:
            assert torch.equal(joined.qkv_bias[0], torch.cat([projection.bias for projection in projections]))
        assert apart.qkv[1] is attention.k_proj.weight  # with its gradient


def test_loaded_policies_have_it_and_training_does_not_undo_it():
    policy = _loaded()
    assert _arity(policy) == {(1, 1)}
    matrix = policy.model.model.layers[0].self_attn.k_proj.weight
    before = matrix.detach().clone()
    optimizer = Optimizer(policy.model, OptimizerConfig(learning_rate=1e-2), total_steps=2)
    for parameter in policy.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step(at=0)
    assert not torch.equal(matrix, before)
    assert _arity(policy) == {(1, 1)}
    joined = layer_of(policy.model.model.layers[0], torch.float32, joined=True).qkv[0]
    assert torch.equal(joined[32:48], matrix)  # after 4 heads of 8, keys of 2


def test_a_mixed_policy_multiplies_by_one_copy():
    policy = _loaded(dtype="mixed")
    layer = layer_of(policy.model.model.layers[0], policy.compute_dtype, joined=True)
    assert [matrix.dtype for matrix in (*layer.qkv, *layer.gate_up)] == [torch.bfloat16] * 2


def test_what_is_moved_apart_is_used_apart():
    policy = _loaded()
    assert _arity(Policy(copy.deepcopy(policy.model), policy.tokenizer)) == {(3, 2)}
    policy.model.double()
    assert _arity(policy) == {(3, 2)}


def test_adapters_and_other_families_are_left_as_they_are():
    assert _arity(_loaded(lora=LoRAConfig(rank=2))) == {(3, 2)}
    model = tiny_model("Qwen3")
    add_adapters(model, LoRAConfig(rank=2, target_modules=["k_proj"]), seed=0)
    some = Policy(model, TOKENIZER)
    join_matrices(some)
    assert _arity(some) == {(3, 1)}
    other = tiny_policy("Gemma2", head_dim=8)
    place = other.model.model.layers[0].self_attn.k_proj.weight.data_ptr()
    join_matrices(other)
    assert other.model.model.layers[0].self_attn.k_proj.weight.data_ptr() == place


def test_saved_files_hold_every_matrix_once(tmp_path):
    policy = tiny_policy("Qwen3")
    wanted = {name: value.clone() for name, value in policy.model.state_dict().items()}
    policy.save(tmp_path / "apart")
    join_matrices(policy)
    policy.save(tmp_path / "together")
    files = [tmp_path / name / "model.safetensors" for name in ("apart", "together")]
    assert files[0].stat().st_size == files[1].stat().st_size
    found = load_policy(ModelConfig(path=str(tmp_path / "together"), dtype="float32"), seed=0)
    assert _arity(found) == {(1, 1)}
    for name, value in found.model.state_dict().items():
        assert torch.equal(value, wanted[name])
