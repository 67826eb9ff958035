"""Linear layers by oneDNN, and the norm with its gradient written out, against torch's own."""

import copy

import pytest
import torch
from tiny_models import tiny_model
from torch import nn
from torch.nn import functional as F  # noqa: N812  (the field's own name)

from gppo.policy import products
from gppo.policy.head import is_plain
from gppo.policy.norm import RMSNorm
from gppo.policy.products import FastLinear, linear_product, with_fast_products

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch has no oneDNN here")


@pytest.fixture(autouse=True)
def _by_onednn(monkeypatch):
    monkeypatch.setattr(products, "ONEDNN", True)


def _case(rows: tuple[int, ...], bias: bool):
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(*rows, 24, generator=generator), torch.randn(40, 24, generator=generator)
    return x, weight, torch.randn(40, generator=generator) if bias else None


def _gradients(product, x, weight, bias, dtype):
    leaves = [None if t is None else t.detach().to(dtype).requires_grad_() for t in (x, weight, bias)]
    out = product(*leaves)
    (out**2).sum().backward()
    return [out.detach(), *(leaf.grad for leaf in leaves if leaf is not None)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("rows", [(1,), (37,), (2, 19), (0,)])
def test_products_and_gradients_are_torchs(rows, bias):
    case = _case(rows, bias)
    got = _gradients(linear_product, *case, torch.float32)
    expected = _gradients(F.linear, *case, torch.float64)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4)


def test_strided_inputs():
    x, weight, _ = _case((24,), False)
    torch.testing.assert_close(linear_product(x.t(), weight), x.t() @ weight.t())
    wide = torch.randn(24, 40)
    torch.testing.assert_close(linear_product(x, wide.t()), x @ wide)


def test_twice_is_bit_identical():
    case = _case((301,), True)
    first, second = (_gradients(linear_product, *case, torch.float32) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_what_does_not_learn_gets_no_gradient():
    x, weight, bias = _case((5,), True)
    x.requires_grad_()
    linear_product(x, weight, bias).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).expand(5, -1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_torchs_own(dtype):
    x, weight, bias = (t.to(dtype) for t in _case((5,), True))
    assert torch.equal(linear_product(x, weight, bias), F.linear(x, weight, bias))


def test_autocast_is_torchs_own():
    x, weight, bias = _case((5,), True)
    with torch.autocast("cpu", torch.bfloat16):
        out = linear_product(x, weight, bias)
    assert out.dtype == torch.bfloat16


def test_a_model_stays_the_same_but_for_the_class_of_its_linear_layers():
    model = tiny_model("Qwen3")
    before = {name: tensor.data_ptr() for name, tensor in model.state_dict().items()}
    ids = torch.arange(8)[None]
    logits = model(ids).logits
    with_fast_products(model)
    assert {name: tensor.data_ptr() for name, tensor in model.state_dict().items()} == before
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert all(type(module) is FastLinear and is_plain(module) for module in linear)
    torch.testing.assert_close(copy.deepcopy(model)(ids).logits, logits, rtol=1e-4, atol=1e-5)


def test_the_norms_gradient():
    x, weight = torch.randn(3, 5, 8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    inputs = (x.requires_grad_(), weight.requires_grad_())
    torch.testing.assert_close(RMSNorm.apply(*inputs, 1e-3), F.rms_norm(x, (8,), weight, 1e-3), rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(lambda x, weight: RMSNorm.apply(x, weight, 1e-3), inputs)


def test_the_norm_of_half_precision_is_computed_in_single():
    x, weight = torch.randn(64, 32).bfloat16(), torch.randn(32).bfloat16()
    got = RMSNorm.apply(x, weight, 1e-6)
    exact = F.rms_norm(x.double(), (32,), weight.double(), 1e-6)
    assert torch.equal(got, exact.bfloat16())
