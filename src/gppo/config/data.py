"""How training sets are made from sources."""

from pathlib import Path

from pydantic import Field, model_validator

from gppo.config.base import Strict
from gppo.config.sources import SourceConfig, differing_names
from gppo.config.steps import StepConfig


class CurateConfig(Strict):
    """One training set: its sources, and the steps that are taken one after the other."""

    name: str = Field(description="What is made, e.g. 'SFT set'; the funnel names it.", min_length=1)
    sources: list[SourceConfig] = Field(description="Read in order; of two duplicates the first stays.", min_length=1)
    steps: list[StepConfig] = Field(default_factory=list, description="What is done to the rows, in order.")
    output: Path = Field(description="JSONL or Parquet that is written.")

    @model_validator(mode="after")
    def _sources_differ(self) -> "CurateConfig":
        differing_names(self.sources)
        return self
