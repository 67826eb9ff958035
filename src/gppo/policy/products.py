"""Products of linear layers in float32 on a CPU, by the faster of the two libraries that torch carries.

torch gives them to MKL, which uses AVX-512 on Intel's processors alone. On others that have it oneDNN makes the same
products in half the time. Which one is taken follows from the processor, so that a run computes the same every time.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F  # noqa: N812  (the field's own name)

from gppo.policy.norm import token_sum


def _onednn_is_faster() -> bool:
    """Whether the processor has AVX-512 and is not Intel's; False where torch cannot tell or has no such operator."""
    found: dict[str, str] = getattr(torch.cpu, "get_capabilities", dict)()
    operator = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    avx512 = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return operator and avx512 and "Intel" not in found.get("cpu_name", "Intel")


#: Whether oneDNN makes float32 products here.
ONEDNN = _onednn_is_faster()


def linear_product(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear``, its gradient too, by the faster library.

    Args:
        x: [..., in].
        weight_OI: [out, in].
        bias_O: or None.
    """
    if not _by_onednn(x, weight_OI):
        return F.linear(x, weight_OI, bias_O)
    if torch.is_grad_enabled():
        return _Product.apply(x, weight_OI, bias_O)
    return _product(x, weight_OI, bias_O)


class FastLinear(nn.Linear):
    """A linear layer whose products are ``linear_product``."""

    def forward(self, x: Tensor) -> Tensor:
        """See ``torch.nn.Linear``."""
        return linear_product(x, self.weight, self.bias)


def with_fast_products(model: nn.Module) -> None:
    """Have the model's linear layers use ``linear_product``, in place, where that makes a difference.

    They stay the same modules with the same parameters and names: only their class is another.
    """
    if next(model.parameters()).device.type == "cpu" and ONEDNN:
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = FastLinear


def _by_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and type(weight) in (nn.Parameter, Tensor)  # not sharded over processes, not quantised
        and x.numel() > 0
        and ONEDNN
        and not torch.is_autocast_enabled("cpu")
    )


def _onednn(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.default(x, weight_OI, bias_O, "none", [], "")


def _alike(x: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight_OI))


# An operator of ours: what compiles a step takes torch's own for one whose weights never change.
_LIBRARY = torch.library.Library("gppo", "FRAGMENT")
_LIBRARY.define("product(Tensor x, Tensor weight, Tensor? bias) -> Tensor")
_LIBRARY.impl("product", _onednn, "CPU")
torch.library.register_fake("gppo::product", _alike, lib=_LIBRARY)
_product = torch.ops.gppo.product.default


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight_OI)
        return _product(x, weight_OI, bias_O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight_OI = ctx.saved_tensors
        grad_NO, x_NI = grad.flatten(0, -2), x.flatten(0, -2)
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        return (
            _product(grad, weight_OI.t(), None) if needs_x else None,
            _product(grad_NO.t(), x_NI.t(), None) if needs_weight else None,
            token_sum(grad_NO) if needs_bias else None,
        )
