"""What SFT and RL share about taking a step."""

from typing import Literal

from pydantic import Field, model_validator

from gppo.config.base import Strict


class OptimizerConfig(Strict):
    """AdamW with a warm-up and a constant or cosine schedule."""

    learning_rate: float = Field(default=1e-6, description="Peak learning rate.", gt=0)
    min_learning_rate: float = Field(default=0.0, description="Where the cosine schedule ends.", ge=0)
    schedule: Literal["constant", "cosine"] = Field(default="constant", description="Shape after the warm-up.")
    warmup_steps: int = Field(
        default=0, description="Steps of the loop over which the rate rises linearly from zero.", ge=0
    )
    weight_decay: float = Field(default=0.1, description="Decoupled weight decay.", ge=0)
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="AdamW's moment decay rates.")
    max_grad_norm: float = Field(default=1.0, description="Gradients are scaled down to this global norm.", gt=0)
    max_bad_updates: int = Field(
        default=3, description="Updates with a non-finite gradient are skipped; this many in a row stop the run.", ge=1
    )

    @model_validator(mode="after")
    def _betas_are_rates(self) -> "OptimizerConfig":
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas {list(self.betas)} must lie in [0, 1)")
        return self

    def check_peak(self, learning_rate: float) -> None:
        """Refuse a cosine schedule that would end above its peak (ValueError)."""
        if self.schedule == "cosine" and self.min_learning_rate > learning_rate:
            raise ValueError(
                f"optimizer.min_learning_rate {self.min_learning_rate:g} is above the peak {learning_rate:g}; lower it"
            )
