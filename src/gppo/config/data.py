"""How training sets are made from sources."""

from pathlib import Path

from pydantic import Field, model_validator

from gppo.config.base import Strict


class SourceConfig(Strict):
    """One place that samples come from."""

    name: str = Field(description="How the funnel names it.", min_length=1)
    data: Path = Field(description="JSONL or Parquet.")


class CurateConfig(Strict):
    """Sources in, exact duplicates and overlaps with evaluation sets out."""

    name: str = Field(description="What is made, e.g. 'SFT set'; the funnel names it.", min_length=1)
    sources: list[SourceConfig] = Field(description="Read in order; of two duplicates the first stays.", min_length=1)
    against: list[Path] = Field(default_factory=list, description="Evaluation sets that must not leak into training.")
    ngram: int = Field(default=9, description="Words in a row that count as overlap.", ge=2)
    output: Path = Field(description="JSONL or Parquet that is written.")

    @model_validator(mode="after")
    def _sources_differ(self) -> "CurateConfig":
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError(f"the names of sources must differ, got {', '.join(names)}")
        return self
