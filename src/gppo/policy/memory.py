"""What to do when a GPU's memory is not enough for the activations."""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import torch

from gppo.types import GppoError

_log = logging.getLogger(__name__)

Found = TypeVar("Found")


def with_checkpointing(model: Any) -> None:
    """Have the layers recompute their activations in the backward."""
    # Renamed in transformers 5; the older name warns.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable()


def _is_checkpointing(model: Any) -> bool:
    renamed = getattr(model, "is_activation_checkpointing", None)
    return model.is_gradient_checkpointing if renamed is None else renamed


def within_memory(model: Any, add_gradient: Callable[[], Found], *, alone: bool = True) -> Found:
    """Add up a gradient; where memory runs out, from its beginning again with activation checkpointing, which stays on.

    Args:
        model: its gradients must be clear before; those of a failed attempt are dropped.
        add_gradient: everything since they were clear.
        alone: False where other ranks are in the midst of the same gradient and cannot begin again.

    Raises:
        torch.OutOfMemoryError: with checkpointing too.
        GppoError: where not alone.
    """
    try:
        return add_gradient()
    except torch.OutOfMemoryError as error:
        if not alone:
            raise GppoError(
                "the GPU's memory did not suffice for the activations; set model.gradient_checkpointing, or lower "
                "micro_batch_tokens, and run the same command again"
            ) from error
        if _is_checkpointing(model):
            raise
    # Outside the handler: the traceback would keep the failed attempt's activations.
    with_checkpointing(model)
    model.zero_grad(set_to_none=True)
    _log.warning(
        "the GPU's memory did not suffice for the activations: from now on layers recompute them, which takes about a "
        "third longer; a smaller micro_batch_tokens may do without"
    )
    return add_gradient()
