"""The head alone: values, entropies and gradients against log_softmax and autograd."""

import pytest
import torch
from torch import Tensor

from gppo.policy import chunked_logprobs, single_pass_logprobs
from gppo.sizes import chunks

TOKENS, HIDDEN = 61, 16


def _head(vocabulary: int, *, bias: bool, dtype: torch.dtype = torch.float32, spread: float = 1.0):
    generator = torch.Generator().manual_seed(vocabulary)
    hidden = torch.randn(TOKENS, HIDDEN, generator=generator).to(dtype).requires_grad_()
    weight = (spread * torch.randn(vocabulary, HIDDEN, generator=generator)).to(dtype).requires_grad_()
    offset = torch.randn(vocabulary, generator=generator).to(dtype).requires_grad_() if bias else None
    targets = torch.randint(vocabulary, (TOKENS,), generator=generator)
    coefficients = torch.randn(TOKENS, generator=generator)
    coefficients[::3] = 0  # tokens that nothing is learned from
    return hidden, weight, offset, targets, coefficients


def _naive(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, temperature: float):
    logits = torch.nn.functional.linear(hidden, weight, bias)
    logprobs_NV = (logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature).log_softmax(-1)
    entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(-1)
    return logprobs_NV.gather(1, targets[:, None]).squeeze(1), entropy_N.detach()


def _grads(*tensors: Tensor | None) -> list[Tensor]:
    taken = [t.grad.clone() for t in tensors if t is not None]
    for t in tensors:
        if t is not None:
            t.grad = None
    return taken


def _relative(got: list[Tensor], expected: list[Tensor]) -> float:
    return max(float((g.double() - e.double()).norm() / e.double().norm()) for g, e in zip(got, expected, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [1.0, 0.7, 1.6])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("vocabulary", "elements"), [(37, 1), (37, 37 * 20), (5000, 5000 * 20), (5000, 1 << 23)])
def test_both_paths_equal_naive_autograd(monkeypatch, vocabulary, elements, bias, temperature, dtype):
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", elements)
    hidden, weight, offset, targets, c = _head(vocabulary, bias=bias, dtype=dtype)
    leaves = (hidden, weight, offset)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-13

    logprobs, entropy = _naive(hidden, weight, offset, targets, temperature)
    logprobs.backward(-c.to(logprobs.dtype))
    expected = _grads(*leaves)

    chunked, chunked_entropy = chunked_logprobs(hidden, weight, offset, targets, temperature)
    assert chunked.dtype == dtype
    assert not chunked_entropy.requires_grad
    assert _relative([chunked.detach(), chunked_entropy], [logprobs.detach(), entropy]) < tolerance
    chunked.backward(-c.to(chunked.dtype))
    assert _relative(_grads(*leaves), expected) < tolerance

    loss, single, single_entropy, kept_c = single_pass_logprobs(
        hidden, weight, offset, targets, lambda logprobs_n, part: c[part].to(logprobs_n.dtype), temperature
    )
    assert not any(t.requires_grad for t in (single, single_entropy, kept_c))
    assert torch.equal(single, chunked)
    assert torch.equal(single_entropy, chunked_entropy)
    assert torch.equal(kept_c, c.to(dtype))
    torch.testing.assert_close(loss.detach(), -(c * logprobs.detach()).sum())
    loss.backward()
    assert _relative(_grads(*leaves), expected) < tolerance


def test_chunks_cover_every_token_once_and_in_order(monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_ELEMENTS", 37 * 20)
    hidden, weight, _, targets, c = _head(37, bias=False)
    seen = []

    def coefficients(logprobs_n: Tensor, part: slice) -> Tensor:
        assert len(logprobs_n) == part.stop - part.start
        seen.extend(range(part.start, part.stop))
        return c[part]

    single_pass_logprobs(hidden, weight, None, targets, coefficients)
    assert seen == list(range(TOKENS))


def test_the_single_pass_loss_may_be_scaled_and_goes_backward_once():
    hidden, weight, _, targets, c = _head(37, bias=False)
    single_pass_logprobs(hidden, weight, None, targets, lambda _, part: c[part])[0].backward()
    once = _grads(hidden, weight)
    loss = single_pass_logprobs(hidden, weight, None, targets, lambda _, part: c[part])[0]
    (loss * -3).backward(retain_graph=True)
    assert _relative(_grads(hidden, weight), [-3 * g for g in once]) < 1e-6
    with pytest.raises(AttributeError):
        loss.backward()


def test_a_frozen_head_gets_no_gradient_and_hidden_states_still_do():
    hidden, weight, offset, targets, c = _head(37, bias=True)
    _naive(hidden, weight, offset, targets, 1.0)[0].backward(-c)
    expected = hidden.grad.clone()
    for frozen_weight, frozen_bias in [(weight.detach(), offset.detach()), (weight.detach(), offset)]:
        hidden.grad = offset.grad = None
        chunked_logprobs(hidden, frozen_weight, frozen_bias, targets)[0].backward(-c)
        assert _relative([hidden.grad], [expected]) < 1e-6
        hidden.grad = None
        single_pass_logprobs(hidden, frozen_weight, frozen_bias, targets, lambda _, part: c[part])[0].backward()
        assert _relative([hidden.grad], [expected]) < 1e-6


def test_no_tokens_give_no_gradient():
    hidden, weight, _, targets, _ = _head(37, bias=False)
    logprobs, entropy = chunked_logprobs(hidden[:0], weight, None, targets[:0])
    assert logprobs.shape == entropy.shape == (0,)
    logprobs.backward(logprobs.detach())
    assert not weight.grad.any()
    loss, *_ = single_pass_logprobs(hidden[:0], weight, None, targets[:0], lambda logprobs_n, _: logprobs_n)
    loss.backward()
    assert not weight.grad.any()


def test_logits_in_the_thousands_stay_finite():
    hidden, weight, offset, targets, c = _head(37, bias=True, spread=1000.0)
    logprobs, entropy = chunked_logprobs(hidden, weight, offset, targets)
    assert logprobs.isfinite().all()
    assert entropy.isfinite().all()
    expected, _ = _naive(hidden, weight, offset, targets, 1.0)
    torch.testing.assert_close(logprobs, expected)
    logprobs.backward(-c)
    assert all(g.isfinite().all() for g in _grads(hidden, weight, offset))


def test_bfloat16_is_close_to_autograd_in_bfloat16():
    hidden, weight, offset, targets, c = _head(5000, bias=True, dtype=torch.bfloat16, spread=0.3)
    logprobs, _ = _naive(hidden, weight, offset, targets, 0.8)
    logprobs.backward(-c)
    expected = _grads(hidden, weight, offset)
    chunked, _ = chunked_logprobs(hidden, weight, offset, targets, 0.8)
    assert chunked.dtype == torch.float32
    torch.testing.assert_close(chunked, logprobs)
    chunked.backward(-c)
    assert _relative(_grads(hidden, weight, offset), expected) < 0.02
    single_pass_logprobs(hidden, weight, offset, targets, lambda _, part: c[part], 0.8)[0].backward()
    assert _relative(_grads(hidden, weight, offset), expected) < 0.02
