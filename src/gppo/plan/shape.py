"""The shape of a recipe's model, from its config.json read as plain JSON: neither torch nor weights are needed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gppo.config.model import ModelConfig, TinyConfig
from gppo.types import UserError

#: Tokens of the byte-level tokenizer.
BYTE_VOCABULARY = 263
#: Bytes of a weight, and of a number that products are made of.
BYTES = {"float32": (4, 4), "bfloat16": (2, 2), "mixed": (4, 2)}


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a causal language model decides memory and work.

    Args:
        vocabulary: rows of embedding and head.
        hidden: width of the residual stream.
        intermediate: width of the MLP.
        layers: how many.
        heads: of queries.
        kv_heads: of keys and values.
        head_dim: their width.
        tied: whether head and embedding are one matrix.
        head_norms: whether queries and keys are normalised (Qwen3).
        kv_bias: whether queries, keys and values have a bias (Qwen2).
        context: positions it is made for.
        known: whether the layers are those of Llama, Qwen2 or Qwen3; others are estimated as if they were.
    """

    vocabulary: int
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    tied: bool = True
    head_norms: bool = True
    kv_bias: bool = False
    context: int = 4096
    known: bool = True

    @property
    def query_width(self) -> int:
        """Of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Of all key heads together; the same for values."""
        return self.kv_heads * self.head_dim

    @property
    def matrix(self) -> int:
        """Numbers in the embedding, and in the head."""
        return self.vocabulary * self.hidden

    @property
    def layer_parameters(self) -> int:
        """Numbers in one layer: four matrices of attention, three of the MLP, norms, biases."""
        attention = 2 * self.hidden * (self.query_width + self.kv_width)
        norms = 2 * self.hidden + (2 * self.head_dim if self.head_norms else 0)
        biases = self.query_width + 2 * self.kv_width if self.kv_bias else 0
        return attention + 3 * self.hidden * self.intermediate + norms + biases

    @property
    def parameters(self) -> int:
        """Numbers in the model."""
        matrices = self.matrix if self.tied else 2 * self.matrix
        return matrices + self.layers * self.layer_parameters + self.hidden


#: As published in the models' config.json. For planning where the files are not at hand.
_QWEN3 = ModelShape(151_936, 1024, 3072, 28, 16, 8, 128, context=40_960)
KNOWN: Mapping[str, ModelShape] = {
    "Qwen3-0.6B": _QWEN3,
    "Qwen3-1.7B": replace(_QWEN3, hidden=2048, intermediate=6144),
    "Qwen3-4B": replace(_QWEN3, hidden=2560, intermediate=9728, layers=36, heads=32),
    "Qwen3-8B": replace(_QWEN3, hidden=4096, intermediate=12_288, layers=36, heads=32, tied=False),
}
_FAMILY = ("qwen3", "qwen2", "llama")


def shape_of(config: ModelConfig) -> ModelShape:
    """The shape of a recipe's model.

    Raises:
        UserError: it is neither on disk nor one of ``KNOWN``, or its config.json lacks something.
    """
    if config.tiny is not None:
        return _of_tiny(config.tiny, _vocabulary(str(config.tokenizer)), config.max_context or 4096)
    path = str(config.path)
    file = Path(path).expanduser() / "config.json"
    if file.is_file():
        return _of_json(_read(file), file)
    name = path.rsplit("/", 1)[-1].removesuffix("-Base")
    if name in KNOWN:
        return KNOWN[name]
    raise UserError(
        f"model.path: there is no '{file}', and of '{path}' the shape is not known; give a folder with config.json, or "
        f"one of {', '.join(KNOWN)} (--set model.path=Qwen/Qwen3-8B plans with that shape)"
    )


def _of_tiny(tiny: TinyConfig, vocabulary: int, context: int) -> ModelShape:
    return ModelShape(
        vocabulary=vocabulary,
        hidden=tiny.hidden_size,
        intermediate=tiny.intermediate_size or 3 * tiny.hidden_size,
        layers=tiny.layers,
        heads=tiny.heads,
        kv_heads=tiny.kv_heads,
        head_dim=tiny.hidden_size // tiny.heads,
        tied=tiny.tie_embeddings,
        context=context,
    )


def _of_json(found: Mapping[str, Any], file: Path) -> ModelShape:
    text = found.get("text_config", found)
    kind = str(text.get("model_type", ""))
    try:
        hidden, heads = int(text["hidden_size"]), int(text["num_attention_heads"])
        return ModelShape(
            vocabulary=int(text["vocab_size"]),
            hidden=hidden,
            intermediate=int(text["intermediate_size"]),
            layers=int(text["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(text.get("num_key_value_heads") or heads),
            head_dim=int(text.get("head_dim") or hidden // heads),
            tied=bool(text.get("tie_word_embeddings", found.get("tie_word_embeddings", False))),
            head_norms=kind.startswith("qwen3"),
            kv_bias=kind == "qwen2" or bool(text.get("attention_bias", False)),
            context=int(text.get("max_position_embeddings") or 4096),
            known=kind in _FAMILY,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{file}: not the config.json of a causal language model (at {error}); check the path"
        ) from error


def _read(file: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except ValueError as error:
        raise UserError(f"{file}: not JSON ({error}); check the file") from error
    if not isinstance(found, dict):
        raise UserError(f"{file}: a {type(found).__name__} where an object is needed; check the file")
    return found


def _vocabulary(tokenizer: str) -> int:
    """Tokens of a tokenizer: the highest number in its tokenizer.json, and one more."""
    if tokenizer == "bytes":
        return BYTE_VOCABULARY
    file = Path(tokenizer).expanduser() / "tokenizer.json"
    if not file.is_file():
        raise UserError(
            f"model.tokenizer: there is no '{file}'; a tiny model's size depends on it: give a folder with it"
        )
    found = _read(file)
    words = found.get("model", {}).get("vocab", {})
    if isinstance(words, list):  # unigram models list them
        words = {str(i): i for i in range(len(words))}
    added = [int(token["id"]) for token in found.get("added_tokens", [])]
    return max([-1, *words.values(), *added]) + 1
