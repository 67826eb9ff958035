"""The head, called inside the root module's forward.

The output projection is not taken out of the model: for one call its ``forward`` is replaced, so that whatever wraps the
model (FSDP2's gathering of weights, peft's adapters, activation checkpointing) does its work around it as always.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: (last hidden states [b, L, H], the head) -> what the model then returns as its logits
HeadFn = Callable[[Tensor, nn.Module], Tensor]


@contextmanager
def replaced_head(head: nn.Module, compute: HeadFn) -> Iterator[None]:
    """Within the block, the head returns ``compute(hidden_states, head)``."""
    head.forward = lambda hidden_bLH: compute(hidden_bLH, head)  # type: ignore[method-assign]
    try:
        yield
    finally:
        del head.forward  # the class's own comes back


def why_not_fused(model: nn.Module, head: nn.Module | None, vocabulary: int) -> str | None:
    """None where the head's product is the model's logits, else the reason to fall back to whole logits.

    Models may scale or cap their logits after the head (Gemma, Cohere, Granite), or adapt the head (LoRA). One forward
    pass over a few random tokens tells.
    """
    weight = getattr(head, "weight", None)
    if head is None or not isinstance(weight, Tensor):
        return "the model has no output projection with a weight"
    generator = torch.Generator().manual_seed(0)
    ids_bL = torch.randint(vocabulary, (2, 8), generator=generator).to(weight.device)
    seen: list[Tensor] = []

    def watch(hidden_bLH: Tensor, module: nn.Module) -> Tensor:
        out = torch.nn.functional.linear(hidden_bLH, module.weight, module.bias)  # type: ignore[arg-type]
        seen.append(out.float())
        return out

    training = model.training
    model.eval()
    with torch.no_grad():
        expected_bLV = model(input_ids=ids_bL, use_cache=False).logits.float()
        with replaced_head(head, watch):
            model(input_ids=ids_bL, use_cache=False)
    model.train(training)
    if not seen or seen[0].shape != expected_bLV.shape:
        return "the model does not call its output projection once for all positions"
    if not torch.allclose(seen[0], expected_bLV, rtol=1e-3, atol=1e-3):
        return "the model scales, caps or adapts the output of its projection"
    return None
