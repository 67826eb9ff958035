"""The norm of the Llama family with its gradient written out, for compiled forwards.

y = w * n,    n = x r,    r = (mean x^2 + epsilon)^-1/2        (https://arxiv.org/abs/1910.07467, equation 4)
dw = sum over tokens of dy * n,    dx = r (g - n mean(g * n)),    g = w * dy
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class RMSNorm(torch.autograd.Function):
    """(x [..., H], weight [H], epsilon) -> y, computed in float32 at least."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """See the module."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, scale)
        return (wide * scale * weight).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        """See the module."""
        x, weight, scale = ctx.saved_tensors
        normal, grad = x.to(scale.dtype) * scale, grad.to(scale.dtype)
        through = grad * weight
        grad_x = scale * (through - normal * (through * normal).mean(-1, keepdim=True))
        return grad_x.to(x.dtype), token_sum(grad * normal).to(weight.dtype), None


# An operator of ours, because the compiler would make one form of this sum for few tokens and others for more.
_LIBRARY = torch.library.Library("gppo", "FRAGMENT")
_LIBRARY.define("token_sum(Tensor x) -> Tensor")
_LIBRARY.impl("token_sum", lambda x: x.flatten(0, -2).sum(0), "CompositeExplicitAutograd")
torch.library.register_fake("gppo::token_sum", lambda x: x.new_empty(x.shape[-1]), lib=_LIBRARY)
#: The sum [H] of x [..., H] over all but its last axis.
token_sum = torch.ops.gppo.token_sum.default
