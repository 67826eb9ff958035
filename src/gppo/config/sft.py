"""Supervised fine-tuning on reasoning traces."""

from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from gppo.config.base import Strict
from gppo.config.optimizer import OptimizerConfig

_OPTIMIZER = {"learning_rate": 8e-5, "min_learning_rate": 4e-5, "schedule": "cosine"}


class SFTConfig(Strict):
    """Next-token loss on the assistant's turns, averaged over the tokens of the whole batch."""

    data: Path = Field(description="JSONL or Parquet with a 'messages' column.")
    epochs: float | None = Field(
        default=None, description="Passes over the data; exactly one of epochs and steps.", gt=0
    )
    steps: int | None = Field(default=None, description="Optimizer steps; exactly one of epochs and steps.", ge=1)
    batch_size: int = Field(default=128, description="Samples an optimizer step.", ge=1)
    micro_batch_tokens: int = Field(
        default=16384, description="Token budget of one forward pass; padding counts where there is any.", ge=1
    )
    max_length: int = Field(default=32768, description="Longer samples are left out and counted.", ge=2)
    optimizer: OptimizerConfig = Field(
        default_factory=lambda: OptimizerConfig.model_validate(_OPTIMIZER),
        description="Defaults: peak 8e-5, cosine to 4e-5, the paper's. Keys left out keep them.",
    )
    save_every: int = Field(default=500, description="Steps between checkpoints; 0 keeps only the last.", ge=0)
    keep_checkpoints: int = Field(default=2, description="How many checkpoints stay on disk.", ge=1)

    @field_validator("optimizer", mode="before")
    @classmethod
    def _keep_other_defaults(cls, value: Any) -> Any:
        return _OPTIMIZER | value if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _length_and_schedule(self) -> "SFTConfig":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give exactly one of epochs and steps")
        self.optimizer.check_peak(self.optimizer.learning_rate)
        return self
