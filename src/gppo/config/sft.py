"""Supervised fine-tuning on reasoning traces."""

from pathlib import Path

from pydantic import Field, model_validator

from gppo.config.base import Strict
from gppo.config.optimizer import OptimizerConfig


class SFTConfig(Strict):
    """Next-token loss on the assistant's turns, averaged over the tokens of the whole batch."""

    data: Path = Field(description="JSONL or Parquet with a 'messages' column.")
    epochs: float | None = Field(None, description="Passes over the data; exactly one of epochs and steps.", gt=0)
    steps: int | None = Field(None, description="Optimizer steps; exactly one of epochs and steps.", ge=1)
    batch_size: int = Field(128, description="Samples an optimizer step.", ge=1)
    micro_batch_tokens: int = Field(16384, description="Token budget of one forward pass, padding included.", ge=1)
    max_length: int = Field(32768, description="Longer samples are left out and counted.", ge=2)
    optimizer: OptimizerConfig = Field(
        default_factory=lambda: OptimizerConfig(learning_rate=8e-5, min_learning_rate=4e-5, schedule="cosine"),
        description="Peak 8e-5, cosine to 4e-5 is the paper's.",
    )
    save_every: int = Field(500, description="Steps between checkpoints; 0 keeps only the last.", ge=0)
    keep_checkpoints: int = Field(2, description="How many checkpoints stay on disk.", ge=1)

    @model_validator(mode="after")
    def _one_length(self) -> "SFTConfig":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of sft.epochs and sft.steps")
        return self
