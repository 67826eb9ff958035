"""What the benchmarks of decoding and of RL steps share: the model, its prompts, medians, and words for the machine."""

import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

_SPECIAL = ("<pad>", "<|im_start|>", "<|im_end|>", "user", "assistant")
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}{{ m['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def characters() -> PreTrainedTokenizerFast:
    """A token for each character of sums; 24 in all."""
    vocabulary = [*_SPECIAL, *"0123456789+=\n ?-.", "<unk>", "#"]
    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(vocabulary)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<|im_end|>",
        unk_token="<unk>",
        additional_special_tokens=["<|im_start|>", "user", "assistant"],
        padding_side="left",
    )
    wrapped.chat_template = _TEMPLATE
    return wrapped


def small_qwen3(tokenizer: PreTrainedTokenizerFast, *, context: int = 1024) -> Qwen3ForCausalLM:
    """0.79 million parameters in float32; the end of text is never drawn, so that lengths are the workload's."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=context,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        attention_dropout=0.0,
    )
    model = Qwen3ForCausalLM(config)
    head = torch.nn.Linear(128, len(tokenizer))
    with torch.no_grad():
        head.weight.copy_(model.lm_head.weight)
        head.bias.zero_()
        head.bias[[tokenizer.eos_token_id, tokenizer.pad_token_id]] = -1e4
    model.lm_head = head
    return model.eval()


def sums(count: int, tokens: int | None = None) -> list[str]:
    """Questions of sums; with ``tokens`` the text of the prompt is filled up to that many characters."""
    rng = random.Random(1)
    texts = [f"{rng.randint(1, 99)}+{rng.randint(1, 99)}=" for _ in range(count)]
    return texts if tokens is None else [text + "." * (tokens - len(text)) for text in texts]


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    names = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def interleaved(ways: Mapping[str, Callable[[], Any]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of every way in every round, the ways taken in turn so that a busy machine is as bad for each."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm_up + rounds):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= warm_up:
                spent[name].append(time.perf_counter() - start)
    return spent


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high
