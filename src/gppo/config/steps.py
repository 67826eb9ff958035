"""The steps of curation: what each may be told. A recipe lists them in the order in which they are taken."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gppo.config.base import Strict
from gppo.config.endpoint import EndpointConfig
from gppo.config.selection import (
    CorrectnessConfig,
    DifficultyConfig,
    FaultyTestsConfig,
    FormatConfig,
    KCenterConfig,
    LanguageConfig,
    MinTestsConfig,
    PassShareConfig,
    TopSourcesConfig,
)
from gppo.config.sources import SourceConfig, differing_names


class ExactDedupConfig(Strict):
    """Of records that ask (and answer) the same in normal form, the first stays."""

    step: Literal["exact_dedup"] = Field(description="Which step it is.")


class NearDedupConfig(Strict):
    """Of records whose questions share most of their word n-grams, the first stays."""

    step: Literal["near_dedup"] = Field(description="Which step it is.")
    threshold: float = Field(default=0.8, description="Jaccard similarity from which two are one.", gt=0, le=1)
    ngram: int = Field(default=3, description="Words in a row that are compared.", ge=1)


class DecontaminateConfig(Strict):
    """Questions that share n words in a row with an evaluation problem go."""

    step: Literal["decontaminate"] = Field(description="Which step it is.")
    against: list[SourceConfig] = Field(
        description="Evaluation sets that must not leak into training; only their questions are read.", min_length=1
    )
    ngram: int = Field(default=9, description="Words in a row that count as overlap.", ge=2)
    stop_grams: int | None = Field(
        default=None,
        description="An n-gram in so many different questions of the set is a phrase of the genre and does not count; "
        "without it every shared n-gram does.",
        ge=2,
    )

    @model_validator(mode="after")
    def _sets_differ(self) -> "DecontaminateConfig":
        differing_names(self.against)
        return self


StepConfig = Annotated[
    ExactDedupConfig
    | NearDedupConfig
    | DecontaminateConfig
    | TopSourcesConfig
    | DifficultyConfig
    | CorrectnessConfig
    | FormatConfig
    | LanguageConfig
    | MinTestsConfig
    | FaultyTestsConfig
    | PassShareConfig
    | KCenterConfig,
    Field(discriminator="step"),
]


def files_of(step: StepConfig) -> list[Path]:
    """The files on this machine that a step reads."""
    if isinstance(step, DecontaminateConfig):
        return [source.data for source in step.against if source.data is not None]
    if isinstance(step, DifficultyConfig):
        return [step.file] if step.file else []
    return []


def endpoint_of(step: StepConfig) -> EndpointConfig | None:
    """The server that a step asks."""
    return step.endpoint if isinstance(step, DifficultyConfig) else None
