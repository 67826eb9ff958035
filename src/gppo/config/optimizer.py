"""What SFT and RL share about taking a step."""

from typing import Literal

from pydantic import Field

from gppo.config.base import Strict


class OptimizerConfig(Strict):
    """AdamW with a warm-up and a constant or cosine schedule."""

    learning_rate: float = Field(1e-6, description="Peak learning rate.", gt=0)
    min_learning_rate: float = Field(0.0, description="Where the cosine schedule ends.", ge=0)
    schedule: Literal["constant", "cosine"] = Field("constant", description="Shape after the warm-up.")
    warmup_steps: int = Field(0, description="Optimizer steps of linear warm-up from zero.", ge=0)
    weight_decay: float = Field(0.1, description="Decoupled weight decay.", ge=0)
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW's moment decay rates.")
    max_grad_norm: float = Field(1.0, description="Gradients are scaled down to this global norm.", gt=0)
    max_bad_updates: int = Field(
        3, description="Updates with a non-finite gradient are skipped; this many in a row stop the run.", ge=1
    )
