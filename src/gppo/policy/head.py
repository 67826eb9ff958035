"""The head, called inside the root module's forward.

The output projection is not taken out of the model: for one call its ``forward`` is replaced, so that whatever wraps
the model (FSDP2's gathering of weights, peft's adapters, activation checkpointing) does its work around it as always.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeGuard

import torch
from torch import Tensor, nn

from gppo.policy.products import FastLinear

#: (last hidden states [b, L, H], the head) -> what the model then returns as its logits
HeadFn = Callable[[Tensor, nn.Linear], Tensor]


@contextmanager
def replaced_head(head: nn.Linear, compute: HeadFn) -> Iterator[None]:
    """Within the block, the head returns ``compute(hidden_states, head)``."""
    before = vars(head).get("forward")  # of a wrapper that replaced it too
    head.forward = lambda hidden_bLH: compute(hidden_bLH, head)  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        if before is None:
            del head.forward  # the class's own comes back
        else:
            head.forward = before  # type: ignore[method-assign]


def is_plain(linear: nn.Module) -> TypeGuard[nn.Linear]:
    """Whether the module does nothing but multiply by its weight and add its bias: no adapter, no quantisation."""
    return type(linear).forward in (nn.Linear.forward, FastLinear.forward)


def why_not_fused(model: nn.Module, head: nn.Module | None, vocabulary: int) -> str | None:
    """None where the head's product is the model's logits, else the reason to fall back to whole logits.

    Models may scale or cap their logits after the head (Gemma, Cohere, Granite), or adapt the head (LoRA). One forward
    pass over a few random tokens tells: the head returns known numbers, and they must come out unchanged. They are
    spread far wider than the logits of a fresh model, at which a cap does not show yet.
    """
    if head is None:
        return "the model has no output projection"
    if not is_plain(head):
        return "the model's output projection is not a plain linear layer"
    device = head.weight.device
    ids_bL = torch.randint(vocabulary, (2, 8), generator=torch.Generator().manual_seed(0)).to(device)
    shown: list[Tensor] = []

    def show(hidden_bLH: Tensor, module: nn.Linear) -> Tensor:
        shape = (*hidden_bLH.shape[:-1], len(module.weight))
        known = torch.linspace(-100, 100, math.prod(shape), device=hidden_bLH.device)
        shown.append(known.view(shape).to(hidden_bLH.dtype))
        return shown[-1].clone()

    training = model.training
    model.eval()
    try:
        with torch.no_grad(), replaced_head(head, show):
            seen_bLV = model(input_ids=ids_bL, use_cache=False).logits
    finally:
        model.train(training)
    if len(shown) != 1 or seen_bLV.shape != shown[0].shape:
        return "the model does not call its output projection once for all positions"
    if not torch.equal(seen_bLV.float(), shown[0].float()):
        return "the model scales, caps or adapts the output of its projection"
    return None
