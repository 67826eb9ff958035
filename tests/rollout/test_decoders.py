"""Teacher-forced logits of both decoders against transformers' full forward."""

import numpy as np
import pytest
import torch
from tiny_models import tiny_model, tiny_policy
from torch import nn

from gppo.policy import Policy, join_matrices
from gppo.policy.family import in_family, shape_of
from gppo.rollout.local.decoders import FamilyDecoder, TransformersDecoder
from gppo.rollout.local.family import logits_after, weights_of
from gppo.rollout.local.prefill import first_logits, prefill
from gppo.rollout.local.steps import Steps
from gppo.sizes import chunks
from gppo.types import SamplingSettings, UserError

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


def _own(policy: Policy) -> FamilyDecoder:
    steps = Steps(shape_of(policy), policy.device, compiled=False)
    return FamilyDecoder(policy, sum(ROWS), 64, SamplingSettings(), steps)


def _own_step(policy: Policy, decoder: FamilyDecoder, as_sums: bool, tokens_B: np.ndarray, position_B: np.ndarray):
    decoder.reserve(int(position_B.max()) + 1)
    columns_L = decoder.columns_C[: position_B.max() + 3]
    tokens, position = torch.from_numpy(tokens_B), torch.from_numpy(position_B)
    return logits_after(shape_of(policy), decoder.weights, decoder.cache, columns_L, tokens, position, as_sums=as_sums)


@torch.inference_mode()
def _worst(policy: Policy, way: str, leave_at: int | None = 9) -> float:
    """The largest difference of a decoder's logits from the full forward; two rows leave on the way."""
    policy.model.eval()
    prompts, said_Bt = _texts()
    expected = _full(policy, prompts, said_Bt)
    decoder = _own(policy) if way != "transformers" else TransformersDecoder(policy, sum(ROWS), SamplingSettings())
    started = prefill(policy, prompts, decoder.weights)
    sources = [source for source, rows in zip(started, ROWS, strict=True) for _ in range(rows)]
    decoder.admit(np.arange(len(sources)), sources)
    start_B = np.array([source.length for source in sources])
    alive, logits_bV, worst = np.arange(len(said_Bt)), first_logits(sources), 0.0
    for t in range(STEPS + 1):
        wanted_bV = torch.stack([expected[row][t] for row in alive])
        worst = max(worst, float((logits_bV - wanted_bV).abs().max()))
        if t == STEPS:
            break
        if t == leave_at:
            stay = np.array([0, 2, 5, 3])
            alive = alive[stay]
            decoder.keep(stay)
        tokens_b, position_b = said_Bt[alive, t], start_B[alive] + t
        if isinstance(decoder, FamilyDecoder):
            logits_bV = _own_step(policy, decoder, way == "sums", tokens_b, position_b)
        else:
            logits_bV = decoder.step(torch.from_numpy(tokens_b), torch.from_numpy(position_b))
    return worst


@pytest.mark.parametrize("way", ["sums", "products"])
@pytest.mark.parametrize("name", FAMILY)
def test_our_own_step_equals_the_full_forward(name, way, monkeypatch):
    monkeypatch.setattr(chunks, "ROOM", 4)  # the cache grows on the way
    family, options = FAMILY[name]
    policy = tiny_policy(family, **options)
    assert in_family(policy)
    if way == "sums":
        join_matrices(policy)  # and prompts too; with "products" a matrix at a time
    assert _worst(policy, way) < 1e-5


@pytest.mark.parametrize("name", ["Qwen3", "Llama, YaRN positions"])
def test_our_own_step_equals_the_full_forward_with_all_rows_to_the_end(name):
    family, options = FAMILY[name]
    assert _worst(tiny_policy(family, **options), "products", leave_at=None) < 1e-5


@torch.inference_mode()
def test_a_slot_is_used_again_by_another_prompt():
    policy = tiny_policy()
    policy.model.eval()
    prompts, said_Bt = _texts()
    expected = _full(policy, prompts, said_Bt)
    first, second, third = prefill(policy, prompts)
    decoder = _own(policy)
    decoder.admit(np.array([0, 1]), [second, second])
    for t in range(5):  # other tokens, more of them than the next prompt has
        _own_step(policy, decoder, False, np.array([t, 9]), np.array([17 + t, 17 + t]))
    decoder.admit(np.array([1]), [third])  # row 3; slot 0 goes on
    for t in range(STEPS):
        tokens_B, position_B = np.array([8, said_Bt[3, t]]), np.array([22 + t, 6 + t])
        logits_BV = _own_step(policy, decoder, False, tokens_B, position_B)
        assert float((logits_BV[1] - expected[3][t + 1]).abs().max()) < 1e-5
    decoder.admit(np.array([0]), [first])  # row 0
    logits_BV = _own_step(policy, decoder, False, np.array([said_Bt[0, 0], 1]), np.array([1, 6 + STEPS]))
    assert float((logits_BV[0] - expected[0][1]).abs().max()) < 1e-5


@torch.inference_mode()
def test_the_cache_follows_real_lengths_not_the_longest_possible():
    policy = tiny_policy(max_position_embeddings=100_000)
    source = prefill(policy, _texts()[0])[1]
    steps = Steps(shape_of(policy), policy.device, compiled=False)
    decoder = FamilyDecoder(policy, 1, 100_000, SamplingSettings(), steps)
    decoder.admit(np.array([0]), [source])
    uniforms = np.full((1, 4), 0.5)
    for t in range(0, 200, 4):
        decoder.run(np.array([1]), np.array([17 + t]), uniforms)
        assert 17 + t + 4 < decoder.cache.keys[0].shape[2] <= 2 * (17 + t + 4) + chunks.ROOM
    bounded = FamilyDecoder(policy, 1, 21, SamplingSettings(), steps)
    bounded.admit(np.array([0]), [source])
    bounded.run(np.array([1]), np.array([17]), uniforms)
    assert bounded.cache.keys[0].shape[2] == 22


@pytest.mark.parametrize("name", FAMILY | OTHERS)
def test_transformers_step_equals_the_full_forward(name):
    family, options = (FAMILY | OTHERS)[name]
    policy = tiny_policy(family, **options)
    assert _worst(policy, "transformers") < 1e-5


@pytest.mark.parametrize("name", OTHERS)
def test_other_models_are_left_to_transformers(name):
    family, options = OTHERS[name]
    assert not in_family(tiny_policy(family, **options))


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotations_that_depend_on_the_length_are_left_to_transformers(kind):
    # Their frequencies change with the longest position asked for: a table of all positions would use the wrong ones.
    rope = LONGROPE if kind == "longrope" else {"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 2.0}
    policy = tiny_policy("Llama", rope_parameters=rope, max_position_embeddings=64)
    assert not in_family(policy)
    assert _worst(policy, "transformers") < 1e-5


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
    assert _worst(policy, "transformers") < 1e-5


@pytest.mark.parametrize("own", [True, False])
def test_prompts_of_a_batch_do_not_meet(monkeypatch, own):
    from gppo.rollout.local import prefill as module

    policy = tiny_policy()
    weights = weights_of(policy) if own else None
    policy.model.eval()
    prompts, _ = _texts()
    with torch.inference_mode():
        together = prefill(policy, prompts, weights)
        monkeypatch.setattr(module, "PREFILL_TOKENS", 1)  # each prompt in a forward of its own
        alone = prefill(policy, prompts, weights)
    assert len({id(source.prompts) for source in together}) == 1
    assert len({id(source.prompts) for source in alone}) == 3
    torch.testing.assert_close(first_logits(together), first_logits(alone), rtol=1e-5, atol=1e-5)
    for one, other in zip(together, alone, strict=True):
        assert one.length == other.length
        for mine, theirs in zip(
            one.prompts.keys + one.prompts.values, other.prompts.keys + other.prompts.values, strict=True
        ):
            torch.testing.assert_close(
                mine[one.index, :, : one.length], theirs[other.index, :, : one.length], rtol=1e-5, atol=1e-5
            )


@pytest.mark.parametrize("name", FAMILY)
@torch.inference_mode()
def test_our_own_prompts_equal_those_of_transformers_forward(name):
    family, options = FAMILY[name]
    policy = tiny_policy(family, **options)
    policy.model.eval()
    prompts, _ = _texts()
    own, theirs = prefill(policy, prompts, weights_of(policy)), prefill(policy, prompts)
    torch.testing.assert_close(first_logits(own), first_logits(theirs), rtol=0, atol=1e-5)
    for one, other in zip(own, theirs, strict=True):
        for mine, wanted in zip(
            one.prompts.keys + one.prompts.values, other.prompts.keys + other.prompts.values, strict=True
        ):
            used = one.index, slice(None), slice(one.length)
            torch.testing.assert_close(mine[used], wanted[used], rtol=0, atol=1e-5)


def test_a_model_without_keys_and_values_is_a_sentence():
    config = {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2, "pad_token_id": 256}
    policy = Policy(tiny_model("Mamba", **config), tiny_policy().tokenizer, max_context=64)
    with torch.inference_mode(), pytest.raises(UserError, match="keys and values") as caught:
        prefill(policy, _texts()[0])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("as_sums", [True, False])
def test_bfloat16_is_close(as_sums):
    policy = tiny_policy("Qwen3", dtype=torch.bfloat16)
    reference = tiny_policy("Qwen3", dtype=torch.bfloat16)
    reference.model.float()
    policy.model.eval()
    prompts, said_Bt = _texts()
    expected = _full(reference, prompts, said_Bt)
    with torch.inference_mode():
        decoder = _own(policy)
        started = prefill(policy, prompts, decoder.weights)
        sources = [source for source, rows in zip(started, ROWS, strict=True) for _ in range(rows)]
        decoder.admit(np.arange(len(sources)), sources)
        start_B = np.array([source.length for source in sources])
        logits_BV = _own_step(policy, decoder, as_sums, said_Bt[:, 0], start_B)
    assert logits_BV.isfinite().all()
    wanted_BV = torch.stack([row[1] for row in expected])
    assert float((logits_BV.float() - wanted_BV).norm() / wanted_BV.norm()) < 0.05
