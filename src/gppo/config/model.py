"""Which model, from where, in which precision."""

from typing import Literal

from pydantic import Field, model_validator

from gppo.config.base import Strict


class TinyConfig(Strict):
    """A randomly initialised Qwen3 of miniature size, for offline worlds and tests."""

    hidden_size: int = Field(default=128, description="Width of the residual stream.", ge=8)
    layers: int = Field(default=4, description="Number of transformer blocks.", ge=1)
    heads: int = Field(default=4, description="Query heads.", ge=1)
    kv_heads: int = Field(default=2, description="Key/value heads; heads must be a multiple.", ge=1)
    intermediate_size: int | None = Field(
        default=None, description="Width of the MLP; 3 x hidden_size where not given.", ge=8
    )
    tie_embeddings: bool = Field(default=True, description="Whether the head shares the embedding's weights.")

    @model_validator(mode="after")
    def _heads_divide(self) -> "TinyConfig":
        if self.hidden_size % self.heads or self.heads % self.kv_heads:
            raise ValueError("hidden_size must be a multiple of heads, and heads a multiple of kv_heads")
        return self


class YarnConfig(Strict):
    """A longer context by YaRN (https://arxiv.org/abs/2309.00071): rotations are stretched, weights stay."""

    factor: float = Field(description="How many times longer.", gt=1)
    original_max_position_embeddings: int = Field(
        default=32768, description="The context that the weights were trained for, in tokens.", ge=1
    )


class LoRAConfig(Strict):
    """Low-rank adapters that are trained instead of the model's weights. Needs peft: pip install 'gppo[lora]'."""

    rank: int = Field(default=16, description="Rank of every adapter.", ge=1)
    alpha: float = Field(default=32.0, description="An adapter's product is multiplied by alpha / rank.", gt=0)
    dropout: float = Field(
        default=0.0, description="Of what goes into an adapter, in training; not with an rl section.", ge=0, lt=1
    )
    target_modules: Literal["all-linear"] | list[str] = Field(
        default="all-linear", description="Names of linear layers, e.g. [q_proj, v_proj]; never the head."
    )


class ModelConfig(Strict):
    """Either ``path`` (a folder or a Hugging Face hub id) or ``tiny``."""

    path: str | None = Field(default=None, description="Folder or hub id of a causal language model.")
    tiny: TinyConfig | None = Field(default=None, description="Build a random tiny Qwen3 instead of loading one.")
    tokenizer: str | None = Field(
        default=None,
        description="Folder or hub id; 'bytes' is the byte-level one of the miniature. Defaults to the model's.",
    )
    dtype: Literal["float32", "bfloat16", "mixed"] = Field(
        default="float32",
        description="Precision of the weights. mixed: weights, gradients and optimizer float32, products bfloat16.",
    )
    max_context: int | None = Field(
        default=None, description="Longest prompt + response in tokens; the model's own otherwise.", ge=1
    )
    yarn: YarnConfig | None = Field(
        default=None, description="Stretch the context; replaces what the model's own configuration says of rotations."
    )
    gradient_checkpointing: bool = Field(default=False, description="Trade time for memory by recomputing activations.")
    compile: bool = Field(
        default=False,
        description="Fuse the passes between the products of packed training forwards (Qwen3, Qwen2, Llama). Takes "
        "half a minute at the first start, seconds at later ones.",
    )
    lora: LoRAConfig | None = Field(
        default=None, description="Train adapters and leave the model's own weights as they are."
    )

    @model_validator(mode="after")
    def _one_origin(self) -> "ModelConfig":
        if (self.path is None) == (self.tiny is None):
            raise ValueError("give exactly one of path (a folder or hub id) and tiny (a random small model)")
        if self.tiny is not None and self.tokenizer is None:
            raise ValueError("tiny needs tokenizer; 'bytes' is the one that is always there")
        if self.lora is not None and self.dtype == "mixed":
            raise ValueError("with lora what is trained is float32 already; set dtype to bfloat16 instead of mixed")
        return self
