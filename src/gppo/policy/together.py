"""Matrices of one input, laid one under another in memory, so that the sampler multiplies by all of them at once.

    x [W_q; W_k; W_v]^T = [x W_q^T, x W_k^T, x W_v^T]

One large product is faster than three small ones. Parameters stay what they are, by name, shape and value: only where
their numbers lie changes. What moves them (another device, a copy of the model) undoes it, and costs that speed alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def lay_together(parameters: Sequence[nn.Parameter]) -> None:
    """Move parameters that are alike but for their first size into one stretch of memory, in place."""
    if together(parameters) is not None:
        return
    joined = torch.cat([parameter.data for parameter in parameters])
    for parameter, part in zip(parameters, joined.split([len(parameter) for parameter in parameters]), strict=True):
        parameter.data = part


def together(tensors: Sequence[Tensor]) -> Tensor | None:
    """One tensor that is these, one under another, in their own memory; None where they do not lie so."""
    first = tensors[0]
    end = first.data_ptr()
    for tensor in tensors:
        alike = tensor.dtype == first.dtype and tensor.device == first.device and tensor.shape[1:] == first.shape[1:]
        same = tensor.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not (alike and same and tensor.is_contiguous() and tensor.data_ptr() == end):
            return None
        end += tensor.numel() * tensor.element_size()
    return first.detach().as_strided((sum(map(len, tensors)), *first.shape[1:]), first.stride())
