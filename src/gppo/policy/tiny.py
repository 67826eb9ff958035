"""A model and a tokenizer that need no download: a random tiny Qwen3, and one token for every byte."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from gppo.config.model import TinyConfig

PAD, END, USER, ASSISTANT, SYSTEM = "<|pad|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"

# A role is one token, so that a short problem stays a short sequence.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token for each byte of UTF-8, so an ASCII character is a token; <think> and </think> are one token each.

    Any text can be encoded and comes back unchanged. The vocabulary has 263 entries.
    """
    bytes_as_text = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(bytes_as_text)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in (PAD, END, USER, ASSISTANT, SYSTEM)])
    # Not special: the tags are part of the text that judges read.
    tokenizer.add_tokens([AddedToken(t, special=False, normalized=False) for t in ("<think>", "</think>")])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, clean_up_tokenization_spaces=False
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def tiny_qwen3(
    config: TinyConfig,
    tokenizer: PreTrainedTokenizerFast,
    *,
    seed: int,
    max_context: int = 4096,
    rotation: Mapping[str, Any] = MappingProxyType({}),
) -> Qwen3ForCausalLM:
    """A randomly initialised Qwen3 in float32 that ends its turns with the tokenizer's eos token.

    Args:
        config: the shape.
        tokenizer: decides vocabulary, padding and eos.
        seed: of the initial weights; torch's global generator is left as it was.
        max_context: positions the model is made for.
        rotation: replaces keys of transformers' configuration, to stretch the context.
    """
    shape = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size or 3 * config.hidden_size,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.kv_heads,
        head_dim=config.hidden_size // config.heads,
        **({"max_position_embeddings": max_context} | dict(rotation)),
        tie_word_embeddings=config.tie_embeddings,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        attention_dropout=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen3ForCausalLM(shape)
