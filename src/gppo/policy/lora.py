"""LoRA: trained low-rank products beside frozen linear layers, through peft.

    y = x W^T + b + s (x A^T) B^T,    s = alpha / rank      (https://arxiv.org/abs/2106.09685, section 4.1)

A [rank, in] and B [out, rank] are float32 whatever the model's precision, and all that is trained. B begins at 0.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gppo.config.model import LoRAConfig
from gppo.policy.head import is_plain
from gppo.policy.products import linear_product
from gppo.types import UserError

ADAPTER_FILE = "adapter_model.safetensors"
_NAME = "default"  # peft's for an adapter that has none
_ON_DISK = "base_model.model."  # what peft puts before names in a file


class LowRank(NamedTuple):
    """What a linear layer with an adapter multiplies by.

    Args:
        base: W [out, in], frozen.
        down: A [rank, in].
        up: s B [out, rank].
    """

    base: Tensor
    down: Tensor
    up: Tensor


def linear(x: Tensor, weight: Tensor | LowRank, bias: Tensor | None = None) -> Tensor:
    """``torch.nn.functional.linear`` in the weight's precision; an adapter's part in its own, as peft's.

    Args:
        x: [..., in].
        weight: see ``LowRank``.
        bias: [out], or None.
    """
    if not isinstance(weight, LowRank):
        return linear_product(x.to(weight.dtype), weight, bias)
    narrow = linear_product(linear_product(x.to(weight.down.dtype), weight.down), weight.up)
    return (linear_product(x, weight.base, bias) + narrow).to(x.dtype)


def add_adapters(model: Any, config: LoRAConfig, *, seed: int) -> None:
    """Freeze the model and put adapters beside its linear layers, in place.

    Args:
        model: of transformers, on the CPU.
        config: the recipe's ``model.lora``.
        seed: of A; torch's global generator is left as it was.

    Raises:
        UserError: peft is not installed, no layer has such a name, or the head or the embedding has.
    """
    try:
        from peft import LoraConfig
    except ModuleNotFoundError as error:
        raise UserError("model.lora needs peft, which is not installed; pip install 'gppo[lora]'") from error
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=config.target_modules,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model.add_adapter(settings, _NAME)
        except ValueError as error:
            raise UserError(
                f"model.lora.target_modules: {config.target_modules} names no linear layer of this model; "
                "all-linear takes every one but the head"
            ) from error
    embedding = model.get_input_embeddings()
    if not is_plain(model.get_output_embeddings()) or type(embedding).forward is not nn.Embedding.forward:
        raise UserError(
            "model.lora.target_modules names the head or the embedding, whose product is computed in chunks without "
            "adapters; leave it out"
        )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def has_adapters(model: nn.Module) -> bool:
    """Whether the model has adapters of ``add_adapters``."""
    return next(_low_ranks(model), None) is not None


def low_rank(module: nn.Module) -> LowRank | None:
    """What a linear layer with an adapter multiplies by now; None where it is no such layer. A and W are shared."""
    layer: Any = module
    base = getattr(layer, "base_layer", None)
    if base is None or not is_plain(base) or list(getattr(layer, "lora_A", {})) != [_NAME] or layer.lora_variant:
        return None
    return LowRank(base.weight, layer.lora_A[_NAME].weight, layer.lora_B[_NAME].weight * layer.scaling[_NAME])


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """The adapters' entries of the model's ``state_dict``."""
    return {name: tensor for name, tensor in model.state_dict().items() if ".lora_" in name}


def read_adapters(folder: Path) -> dict[str, Tensor]:
    """The adapters that peft has written to a folder, with the names of ``adapter_state``."""
    found = load_file(folder / ADAPTER_FILE)
    layers = {name.removeprefix(_ON_DISK).removesuffix(".weight"): tensor for name, tensor in found.items()}
    return {f"{name}.{_NAME}.weight": tensor for name, tensor in layers.items()}


@torch.no_grad()
def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The ``state_dict`` that the model would have with its adapters merged; only merged weights are copies."""
    merged = {f"{name}.weight": found.base.float() + found.up @ found.down for name, found in _low_ranks(model)}
    plain = {
        name.replace(".base_layer.", "."): tensor for name, tensor in model.state_dict().items() if ".lora_" not in name
    }
    return {name: merged[name].to(tensor.dtype) if name in merged else tensor for name, tensor in plain.items()}


@torch.no_grad()
def merge_adapters(model: Any) -> None:
    """Add every adapter's product to its layer's weight and make the model one without adapters, in place.

    The sum is made in float32 and rounded to the weight's precision.
    """
    for name, found in list(_low_ranks(model)):
        layer: Any = model.get_submodule(name)
        base = layer.base_layer
        base.weight.copy_(found.base.float() + found.up @ found.down)
        owner, _, own_name = name.rpartition(".")
        setattr(model.get_submodule(owner), own_name, base)
    del model.peft_config
    model._hf_peft_config_loaded = False  # so that the whole model is saved, not its adapters


def _low_ranks(model: nn.Module) -> Iterator[tuple[str, LowRank]]:
    """The layers that have adapters, by name."""
    return ((name, found) for name, module in model.named_modules() if (found := low_rank(module)) is not None)
