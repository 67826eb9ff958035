"""What the benchmarks of decoding and of RL steps share: the model, its prompts, medians, and words for the machine."""

import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LogitsProcessor, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from gppo.policy import Policy, join_matrices
from gppo.rollout import LocalSampler, Request
from gppo.types import Problem, SamplingSettings

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


def small_policy(tokenizer: PreTrainedTokenizerFast, *, compiled: bool = False) -> Policy:
    """That model as ``load_policy`` would set it up."""
    policy = Policy(small_qwen3(tokenizer), tokenizer, compiled=compiled)
    join_matrices(policy)
    return policy


@dataclass(frozen=True, slots=True)
class Workload:
    """What is decoded: for every prompt a group of responses, each with a length of its own.

    Args:
        name: for the table.
        texts: P questions.
        lengths_PG: tokens of each response.
    """

    name: str
    texts: tuple[str, ...]
    lengths_PG: np.ndarray

    @property
    def tokens(self) -> int:
        """Of all responses together."""
        return int(self.lengths_PG.sum())


def sums(count: int) -> list[str]:
    """Different questions of one length."""
    pairs = [(a, b) for a in range(10, 100) for b in range(10, 100)]
    return [f"{a}+{b}=" for a, b in random.Random(1).sample(pairs, count)]


def workload(name: str, prompts: int = 16, group: int = 8) -> Workload:
    """``uniform``: 32 tokens each. ``long-tailed``: log-normal, median 64, sigma 1, at most 512. ``long prompts``: 512
    tokens of prompt, 64 of response."""
    texts, shape = sums(prompts), (prompts, group)
    if name == "long-tailed":
        drawn_PG = np.exp(np.log(64) + np.random.default_rng(0).standard_normal(shape))
        return Workload(name, tuple(texts), np.clip(np.rint(drawn_PG), 1, 512).astype(np.int64))
    if name == "long prompts":
        around = len(
            characters().apply_chat_template([{"role": "user", "content": ""}], add_generation_prompt=True)["input_ids"]
        )
        return Workload(name, tuple(text + "." * (512 - around - len(text)) for text in texts), np.full(shape, 64))
    return Workload(name, tuple(texts), np.full(shape, 32))


class ForcedLengths(LocalSampler):
    """Every response has the length that the workload says; ``generate()`` is held to it by ``EndsAt``.

    Compiled, as it is in every run that is long enough to be waited for.
    """

    def __init__(self, policy: Policy, work: Workload, max_rows: int, compiled: bool = True) -> None:
        super().__init__(policy, max_rows, compiled)
        self.work = work

    def limit(self, request: Request, sample: int, settings: SamplingSettings) -> int:
        """See ``LocalSampler``; problems are named by their number."""
        return int(self.work.lengths_PG[int(request.problem_id), sample])


class EndsAt(LogitsProcessor):
    """Makes a row's last token the end of text, so that ``generate()`` knows it for finished; no other way costs less.

    Args:
        lengths_B: tokens of each row.
        end: the end of text.
    """

    def __init__(self, lengths_B: np.ndarray, end: int) -> None:
        self.last_B = torch.from_numpy(lengths_B.reshape(-1))
        self.end = end
        self.start: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Called once a token."""
        if self.start is None:
            self.start = input_ids.shape[1]
        scores[input_ids.shape[1] - self.start + 1 >= self.last_B, self.end] = 1e9
        return scores


def problems_of(work: Workload) -> list[Problem]:
    return [Problem(str(i), ({"role": "user", "content": text},), "math", "0") for i, text in enumerate(work.texts)]


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    facts = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in facts if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def interleaved(
    ways: Mapping[str, Callable[[], Any]],
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every way in every round, the ways taken in turn so that a busy machine is as bad for each."""
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(warm_up + rounds):
        for name, way in ways.items():
            start = clock()
            way()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if turn >= warm_up:
                spent[name].append(clock() - start)
    return spent


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, lower and upper quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high
