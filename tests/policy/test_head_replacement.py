"""Which models take the fused head, and that those that cannot are exact all the same."""

import pytest
import torch
from tiny_models import gradients, naive_logprobs, random_batch, tiny_model, tiny_policy, worst_relative
from torch import nn

from gppo.policy import Policy
from gppo.policy.head import replaced_head
from gppo.policy.memory import with_checkpointing

SCALED = {
    "Granite": {"logits_scaling": 8.0},
    "Cohere2": {"logit_scale": 0.25},
    "Gemma2": {"head_dim": 8, "sliding_window": 8},
}
PLAIN = {
    "Qwen3": {},
    "Qwen2": {},
    "Llama": {},
    "Mistral": {},
    "Phi3": {},
    "GPTNeoX": {},
    "Granite": {"logits_scaling": 1.0},
}


class _Adapted(nn.Module):
    """A head with a low-rank adapter beside it, as peft makes them: at first it adds nothing."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, 2, bias=False, dtype=base.weight.dtype)
        self.up = nn.Linear(2, base.out_features, bias=False, dtype=base.weight.dtype)
        nn.init.zeros_(self.up.weight)

    @property
    def weight(self) -> torch.Tensor:
        return self.base.weight

    @property
    def bias(self) -> torch.Tensor | None:
        return self.base.bias

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.base(hidden) + self.up(self.down(hidden))


def _both_gradients(policy: Policy, temperature: float = 0.8):
    """Through ``logprobs`` and through ``backward_N``, with the naive one; coefficients are fixed random numbers."""
    batch = random_batch()
    mask_BT = torch.from_numpy(batch.mask_BT)
    c_BT = torch.randn(mask_BT.shape, generator=torch.Generator().manual_seed(0)).to(policy.model.dtype) * mask_BT
    naive_BT = naive_logprobs(policy, batch, temperature)
    (-(c_BT * naive_BT).sum()).backward()
    expected = gradients(policy)
    logprobs_BT, _ = policy.logprobs(batch, temperature)
    torch.testing.assert_close(logprobs_BT, naive_BT * mask_BT)
    torch.autograd.backward(logprobs_BT, -c_BT)
    two_pass = gradients(policy)
    responses = [row[mask] for row, mask in zip(batch.response_ids_BT, batch.mask_BT, strict=True)]
    c_N = c_BT[mask_BT]
    logprobs_N, entropy_N, kept_N = policy.backward_N(
        policy.tokens(batch.prompt_ids, responses), lambda _, part: c_N[part], temperature
    )
    assert not any(t.requires_grad for t in (logprobs_N, entropy_N, kept_N))
    torch.testing.assert_close(logprobs_N, naive_BT[mask_BT].detach())
    torch.testing.assert_close(kept_N, c_N)
    return two_pass, gradients(policy), expected


@pytest.mark.parametrize("family", SCALED)
def test_models_that_change_their_logits_fall_back_and_are_exact(family):
    policy = tiny_policy(family, dtype=torch.float64, **SCALED[family])
    assert "scales, caps or adapts" in policy.unfused_reason
    two_pass, one_call, expected = _both_gradients(policy)
    # These families compute their norms in float32 whatever the weights.
    assert worst_relative(two_pass, expected) < 1e-6
    assert worst_relative(one_call, expected) < 1e-6


def test_a_cap_is_seen_even_where_the_logits_are_still_small():
    # Right after initialisation logits are near zero, where tanh is the identity; training makes them grow.
    policy = tiny_policy("Gemma2", noise=0.0, **SCALED["Gemma2"])
    assert policy.unfused_reason is not None


@pytest.mark.parametrize("family", PLAIN)
def test_plain_models_take_the_fused_head_and_are_exact(family):
    policy = tiny_policy(family, dtype=torch.float64, **PLAIN[family])
    assert policy.unfused_reason is None
    two_pass, one_call, expected = _both_gradients(policy)
    assert worst_relative(two_pass, expected) < 1e-12
    assert worst_relative(one_call, expected) < 1e-12


def test_an_adapter_on_the_head_is_seen_although_it_adds_nothing_yet_and_is_trained():
    model = tiny_model("Qwen3", dtype=torch.float64)
    model.lm_head = _Adapted(model.lm_head)
    policy = Policy(model, tiny_policy().tokenizer)
    assert policy.unfused_reason is not None
    two_pass, _, expected = _both_gradients(policy)
    assert expected["lm_head.up.weight"].norm() > 0
    assert worst_relative({"up": two_pass["lm_head.up.weight"]}, {"up": expected["lm_head.up.weight"]}) < 1e-12


@pytest.mark.parametrize("family", ["Qwen3", "Granite"])
def test_gradient_checkpointing_changes_nothing(family):
    policy = tiny_policy(family, dtype=torch.float64, **SCALED.get(family, {}))
    policy.model.train()
    passes = []
    policy.model.model.layers[0].self_attn.register_forward_hook(lambda *_: passes.append(1))
    *plain, expected = _both_gradients(policy)
    once = len(passes)
    with_checkpointing(policy.model)
    for got in (*plain, *_both_gradients(policy)[:2]):
        assert worst_relative(got, expected) < 1e-12
    assert len(passes) - once == 2 * once  # every layer ran again in the backward


def test_the_head_comes_back_after_an_exception():
    policy, batch = tiny_policy(), random_batch()
    responses = [row[mask] for row, mask in zip(batch.response_ids_BT, batch.mask_BT, strict=True)]
    tokens = policy.tokens(batch.prompt_ids, responses)

    def fails(*_):
        raise FloatingPointError

    before = policy.model(input_ids=tokens.ids_BL).logits
    with pytest.raises(FloatingPointError):
        policy.backward_N(tokens, fails)
    assert "forward" not in vars(policy.head)
    assert torch.equal(policy.model(input_ids=tokens.ids_BL).logits, before)


def test_a_forward_that_a_wrapper_had_put_on_the_head_comes_back():
    head = nn.Linear(3, 3)
    head.forward = wrapper = lambda hidden: hidden  # what accelerate's hooks do
    with replaced_head(head, lambda hidden, _: hidden * 2):
        assert head(torch.ones(1)).item() == 2
        with replaced_head(head, lambda hidden, _: hidden * 3):
            assert head(torch.ones(1)).item() == 3
        assert head(torch.ones(1)).item() == 2
    assert head.forward is wrapper


@pytest.mark.parametrize("training", [True, False])
def test_looking_at_a_model_leaves_its_mode(training):
    model = tiny_model("Qwen3").train(training)
    Policy(model, tiny_policy().tokenizer)
    assert model.training is training
    assert all(module.training is training for module in model.modules())


def test_a_model_without_an_output_projection_falls_back():
    class Wrapped(nn.Module):
        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.inner, self.config, self.generation_config = model, model.config, model.generation_config

        def get_output_embeddings(self) -> None:
            return None

        def forward(self, **inputs):
            return self.inner(**inputs)

    policy = Policy(Wrapped(tiny_model("Qwen3")), tiny_policy().tokenizer)
    assert "no output projection" in policy.unfused_reason
    batch = random_batch()
    torch.testing.assert_close(
        policy.logprobs(batch)[0], naive_logprobs(policy, batch) * torch.from_numpy(batch.mask_BT)
    )
