"""What all parts of a recipe share: unknown keys are errors, numbers are finite, values stay as they were checked."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A part of a recipe. Unknown keys, NaN and infinities are refused; instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)
