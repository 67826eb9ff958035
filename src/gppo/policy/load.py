"""Where a policy comes from: a folder, the hub, or nothing but a seed."""

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers.utils import logging as transformers_logging

from gppo.config.model import ModelConfig, YarnConfig
from gppo.policy.family import join_matrices
from gppo.policy.lora import add_adapters
from gppo.policy.memory import with_checkpointing
from gppo.policy.model import Policy
from gppo.policy.parallel import give_back
from gppo.policy.products import with_fast_products
from gppo.policy.tiny import byte_tokenizer, tiny_qwen3
from gppo.records.hub import hub_answers
from gppo.types import UserError

_log = logging.getLogger(__name__)

_BYTES = "bytes"
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def load_policy(
    config: ModelConfig, *, seed: int, device: str = "cpu", shard: Callable[[nn.Module], nn.Module] | None = None
) -> Policy:
    """Build or load the model of a recipe.

    Args:
        config: the recipe's ``model``.
        seed: of the weights of a tiny model, and of adapters.
        device: where the weights go.
        shard: shares the model out to the ranks of such devices (``gppo.policy.parallel.shard``).

    Raises:
        UserError: nothing can be loaded from the path, or the tokenizer or the adapters do not fit the model.
    """
    transformers_logging.disable_progress_bar()  # a bar for every file would break the run's own
    model: Any
    mixed = config.dtype == "mixed"
    dtype = torch.float32 if mixed else getattr(torch, config.dtype)
    if config.tiny is not None:
        tokenizer = load_tokenizer(config)
        model = tiny_qwen3(
            config.tiny, tokenizer, seed=seed, max_context=config.max_context or 4096, rotation=rotation_of(config.yarn)
        )
        model = model.to(dtype)
    else:
        source = _source(str(config.path), "model.path")
        if (Path(source) / "adapter_config.json").is_file():
            raise UserError(
                f"model.path: '{source}' holds adapters and no whole model; give what gppo export makes of it"
            )
        tokenizer = load_tokenizer(config)
        model = load_weights(source, dtype, config.yarn)
    vocabulary = model.config.get_text_config(decoder=True).vocab_size
    if len(tokenizer) > vocabulary:
        raise UserError(
            f"the tokenizer has {len(tokenizer)} tokens and the model {vocabulary}: they do not belong together; set "
            "model.tokenizer to the one that the model was trained with"
        )
    if config.lora is not None:
        add_adapters(model, config.lora, seed=seed)
    if config.gradient_checkpointing:
        with_checkpointing(model)
    if shard is None:
        policy = Policy(model.to(device), tokenizer, config.max_context, mixed=mixed, compiled=config.compile)
        join_matrices(policy)
    else:
        place = torch.device(device)
        if place.type == "cpu":
            with_fast_products(model)  # before it is taken apart, so that its copies for sampling have them too
        blank = shard(model)
        policy = Policy(
            model, tokenizer, config.max_context, mixed=mixed, compiled=config.compile, blank=blank, device=place
        )
        give_back(policy)
    if policy.unpacked_reason is not None:
        _log.warning("rows are padded to one length, which costs time: %s", policy.unpacked_reason)
    if policy.uncompiled_reason is not None:
        _log.warning("model.compile: the layers are not compiled: %s", policy.uncompiled_reason)
    return policy


def load_tokenizer(config: ModelConfig) -> Any:
    """The tokenizer of a recipe's model, without its weights.

    Raises:
        UserError: none can be loaded from the path.
    """
    if config.tokenizer is None and config.path is not None:
        return _load_tokenizer(_source(config.path, "model.path"))
    return _load_tokenizer(config.tokenizer or _BYTES)


def rotation_of(yarn: YarnConfig | None) -> dict[str, Any]:
    """What YaRN changes in a model's configuration, as transformers names it; {} where there is none."""
    if yarn is None:
        return {}
    original = yarn.original_max_position_embeddings
    rope = {"rope_type": "yarn", "factor": yarn.factor, "original_max_position_embeddings": original}
    return {"max_position_embeddings": int(original * yarn.factor), "rope_parameters": rope}


def load_weights(source: str, dtype: torch.dtype, yarn: YarnConfig | None = None) -> nn.Module:
    """A causal language model from a folder or a hub id, every weight of it.

    A hub id is looked up in the local cache alone where the hub does not answer within seconds.

    Raises:
        UserError: it cannot be read, or lacks weights that would then start from random numbers.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    cached = {"local_files_only": True} if _only_cached(source) else {}
    try:
        config = AutoConfig.from_pretrained(source, **cached)
        _stretch(config.get_text_config(decoder=True), yarn)
        # Other shapes are reported below, in one sentence.
        model, report = AutoModelForCausalLM.from_pretrained(
            source, config=config, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, **cached
        )
    except Exception as error:  # whatever a broken file makes the library raise
        raise UserError(
            f"no causal language model could be read from '{source}': {first_line(error)}; "
            "give a folder with config.json and safetensors, or a hub id that can be reached"
        ) from error
    absent = sorted(str(name) for name in report["missing_keys"])
    absent += sorted(str(entry[0]) for entry in report["mismatched_keys"])
    if absent:
        raise UserError(
            f"the weights in '{source}' do not fit their config.json: {len(absent)} parameters are missing or have "
            f"another shape, {absent[0]} for one; use the two files of one model"
        )
    return model


def _stretch(config: Any, yarn: YarnConfig | None) -> None:
    for key, value in rotation_of(yarn).items():
        own = getattr(config, key, None)
        setattr(config, key, {**own, **value} if isinstance(own, dict) else value)


def _only_cached(source: str) -> bool:
    return not Path(source).is_dir() and not hub_answers()


def _source(name: str, key: str) -> str:
    """The folder, its ~ expanded, or the hub id as it is."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return str(folder)
    if folder.exists() or not _HUB_ID.fullmatch(name):
        what = "is not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{key}: '{name}' {what}; give a folder with config.json and safetensors, or a hub id")
    return name


def _load_tokenizer(name: str) -> Any:
    if name == _BYTES:
        return byte_tokenizer()
    from transformers import AutoTokenizer

    source = _source(name, "model.tokenizer")
    if Path(source).is_dir() and not any(Path(source).glob("*token*")) and not any(Path(source).glob("*vocab*")):
        missing = "tokenizer" if (Path(source) / "config.json").is_file() else "config.json and no tokenizer"
        raise UserError(f"the folder '{source}' has no {missing}; set model.tokenizer, or give a model's folder")
    try:
        return AutoTokenizer.from_pretrained(source, local_files_only=_only_cached(source))
    except Exception as error:  # tokenizers raises nothing narrower for a broken file
        raise UserError(
            f"no tokenizer could be read from '{source}': {first_line(error)}; "
            "give a folder with tokenizer.json, or a hub id that can be reached"
        ) from error


def first_line(error: Exception) -> str:
    """What a library says, cut to its first line; the kind of error where that line says nothing by itself."""
    line = (str(error).strip().splitlines() or [""])[0].strip()
    return type(error).__name__ if len(line) < 15 or line.endswith(":") else line.rstrip(".")
