"""What all parts of a recipe share: unknown keys are errors, values cannot be changed after checking."""

from pydantic import BaseModel, ConfigDict


class Strict(BaseModel):
    """A part of a recipe. Unknown keys are refused; instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
