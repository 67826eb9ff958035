"""Teacher-forced logits of both decoders against transformers' full forward."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_model, tiny_policy
from torch import nn

from gppo.policy import Policy
from gppo.rollout.local.decoders import FamilyDecoder, TransformersDecoder, decoder_for, in_family
from gppo.rollout.local.prefill import prefill
from gppo.types import UserError

LENGTHS = (1, 17, 6)  # of the prompts
ROWS = (2, 1, 3)  # that decode from each
STEPS = 14

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 32}
LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 10_000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [3.0] * 4,
    "original_max_position_embeddings": 64,
    "factor": 2.0,
}
DEEPSEEK = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 12,
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    "num_key_value_heads": 4,
}

FAMILY = {
    "Qwen3": ("Qwen3", {}),
    "Qwen3, untied, with a bias on the head": ("Qwen3", {"tie_word_embeddings": False, "head_bias": True}),
    "Qwen3, attention bias": ("Qwen3", {"attention_bias": True}),
    "Qwen3, wide heads": ("Qwen3", {"head_dim": 16}),
    "Qwen2": ("Qwen2", {}),
    "Llama": ("Llama", {}),
    "Llama, attention bias": ("Llama", {"attention_bias": True}),
    "Llama, one key/value head": ("Llama", {"num_key_value_heads": 1}),
    "Llama, llama3 positions": ("Llama", {"rope_parameters": LLAMA3}),
    "Llama, YaRN positions": ("Llama", {"rope_parameters": YARN}),
    "Qwen2, YaRN positions": ("Qwen2", {"rope_parameters": YARN}),
}
OTHERS = {
    "Gemma2, sliding window and caps": ("Gemma2", {"head_dim": 8, "sliding_window": 5}),
    "Mistral, sliding window": ("Mistral", {"sliding_window": 5}),
    "Qwen2, sliding window": ("Qwen2", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    "Phi3": ("Phi3", {}),
    "GPTNeoX": ("GPTNeoX", {}),
    "GPT2, learned positions": ("GPT2", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "Granite, scaled logits": ("Granite", {"logits_scaling": 8.0}),
    "Qwen3Moe": ("Qwen3Moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
    "DeepseekV3, values narrower than keys": ("DeepseekV3", DEEPSEEK),
    "Llama, MLP bias": ("Llama", {"mlp_bias": True}),
    "Llama, gelu": ("Llama", {"hidden_act": "gelu"}),
    "Phi3, longrope positions": ("Phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 64}),
}


def _texts(lengths: tuple[int, ...] = LENGTHS, rows: tuple[int, ...] = ROWS, steps: int = STEPS):
    """Prompts, and for every row the tokens that it is made to say, [B, t]."""
    rng = np.random.default_rng(0)
    prompts = [rng.integers(0, 256, length) for length in lengths]
    return prompts, rng.integers(0, 256, (sum(rows), steps))


@torch.no_grad()
def _full(policy: Policy, prompts: list[np.ndarray], said_Bt: np.ndarray) -> list[torch.Tensor]:
    """For every row the logits [t + 1, V] after its prompt and after each token, by one forward over all of it."""
    of_row = np.repeat(np.arange(len(ROWS)), ROWS)
    out = []
    for row, said_t in enumerate(said_Bt):
        prompt = prompts[of_row[row]]
        ids = torch.from_numpy(np.concatenate([prompt, said_t]))
        out.append(policy.model(input_ids=ids[None], use_cache=False).logits[0, len(prompt) - 1 :])
    return out


@torch.inference_mode()
def _worst(policy: Policy, kind: type, leave_at: int | None = 9, **options) -> float:
    """The largest difference of a decoder's logits from the full forward; two rows leave on the way."""
    policy.model.eval()
    prompts, said_Bt = _texts()
    expected = _full(policy, prompts, said_Bt)
    start = prefill(policy, prompts, ROWS)
    decoder = kind(policy, start, **options)
    alive, logits_bV, worst = np.arange(len(said_Bt)), start.logits_BV, 0.0
    for t in range(STEPS + 1):
        wanted_bV = torch.stack([expected[row][t] for row in alive])
        worst = max(worst, float((logits_bV - wanted_bV).abs().max()))
        if t == STEPS:
            break
        if t == leave_at:
            stay = np.array([0, 2, 5, 3])
            alive = alive[stay]
            decoder.keep(torch.from_numpy(stay))
        logits_bV = decoder.step(torch.from_numpy(said_Bt[alive, t]))
    return worst


@pytest.mark.parametrize("name", FAMILY)
def test_our_own_step_equals_the_full_forward(name):
    family, options = FAMILY[name]
    policy = tiny_policy(family, **options)
    assert in_family(policy)
    # Room for 4 tokens at first: the cache grows twice.
    assert _worst(policy, FamilyDecoder, room=4) < 1e-5


@pytest.mark.parametrize("name", ["Qwen3", "Llama, YaRN positions"])
def test_our_own_step_equals_the_full_forward_with_all_rows_to_the_end(name):
    family, options = FAMILY[name]
    assert _worst(tiny_policy(family, **options), FamilyDecoder, leave_at=None) < 1e-5


@pytest.mark.parametrize("name", FAMILY | OTHERS)
def test_transformers_step_equals_the_full_forward(name):
    family, options = (FAMILY | OTHERS)[name]
    policy = tiny_policy(family, **options)
    assert _worst(policy, TransformersDecoder) < 1e-5


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_are_left_to_transformers(name):
    family, options = OTHERS[name]
    policy = tiny_policy(family, **options)
    assert not in_family(policy)
    with torch.inference_mode():
        start = prefill(policy, *_prompts_and_rows())
        assert isinstance(decoder_for(policy, start), TransformersDecoder)


def _prompts_and_rows():
    return _texts()[0], ROWS


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotations_that_depend_on_the_length_are_left_to_transformers(kind):
    # Their frequencies change with the longest position asked for: a table of all positions would use the wrong ones.
    rope = LONGROPE if kind == "longrope" else {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}
    policy = tiny_policy("Llama", rope_parameters=rope, max_position_embeddings=64)
    assert not in_family(policy)
    assert _worst(policy, TransformersDecoder) < 1e-5


class _Adapted(nn.Module):
    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.delta = nn.Linear(base.in_features, base.out_features, bias=False)

    @property
    def weight(self) -> torch.Tensor:
        return self.base.weight

    @property
    def bias(self) -> torch.Tensor | None:
        return self.base.bias

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.base(hidden) + self.delta(hidden)


@pytest.mark.parametrize("where", ["self_attn.v_proj", "mlp.down_proj"])
def test_models_with_adapters_inside_are_left_to_transformers(where):
    model = tiny_model("Qwen3")
    module, name = where.split(".")
    parent = getattr(model.model.layers[1], module)
    setattr(parent, name, _Adapted(getattr(parent, name)))
    policy = Policy(model, tiny_policy().tokenizer)
    assert not in_family(policy)
    assert _worst(policy, TransformersDecoder) < 1e-5


def test_prompts_of_a_batch_do_not_meet(monkeypatch):
    from gppo.rollout.local import prefill as module

    policy = tiny_policy()
    policy.model.eval()
    prompts, _ = _texts()
    with torch.inference_mode():
        together = prefill(policy, prompts, ROWS)
        monkeypatch.setattr(module, "PREFILL_TOKENS", 1)  # each prompt in a forward of its own
        alone = prefill(policy, prompts, ROWS)
    torch.testing.assert_close(together.logits_BV, alone.logits_BV, rtol=1e-5, atol=1e-5)
    for one, other in zip(together.keys + together.values, alone.keys + alone.values, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert together.pad_B.tolist() == [16, 16, 0, 11, 11, 11]
    # Left of a prompt there is nothing.
    assert not together.keys[0][0, :, :16].any()


def test_a_model_without_keys_and_values_is_a_sentence():
    config = {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2, "pad_token_id": 256}
    policy = Policy(tiny_model("Mamba", **config), tiny_policy().tokenizer, max_context=64)
    with torch.inference_mode(), pytest.raises(UserError, match="keys and values") as caught:
        prefill(policy, *_prompts_and_rows())
    assert "\n" not in str(caught.value)


def test_bfloat16_is_close():
    policy = tiny_policy("Qwen3", dtype=torch.bfloat16)
    reference = tiny_policy("Qwen3", dtype=torch.bfloat16)
    reference.model.float()
    policy.model.eval()
    prompts, said_Bt = _texts()
    expected = _full(reference, prompts, said_Bt)
    with torch.inference_mode():
        start = prefill(policy, prompts, ROWS)
        decoder = FamilyDecoder(policy, start)
        logits_BV = decoder.step(torch.from_numpy(said_Bt[:, 0]))
    assert logits_BV.isfinite().all()
    wanted_BV = torch.stack([row[1] for row in expected])
    assert float((logits_BV.float() - wanted_BV).norm() / wanted_BV.norm()) < 0.05
