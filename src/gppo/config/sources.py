"""Where samples come from and how their columns are called."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from gppo.config.base import Strict

Format = Literal[
    "openthoughts3",
    "numinamath",
    "acereason",
    "opencodereasoning",
    "taco",
    "apps",
    "codeforces",
    "skywork_or1",
    "deepscaler",
    "klear_math",
    "klear_code",
    "openr1_math",
    "openr1_math_problems",
    "math",
    "gsm8k",
    "aime",
    "leetcode",
    "taco_generation",
    "humaneval",
    "mbpp",
]


class ColumnsConfig(Strict):
    """Which column holds what. A dotted name goes inside: reward_model.ground_truth, messages.0.content."""

    prompt: str | None = Field(default=None, description="What is asked: text, or turns.")
    answer: str | None = Field(default=None, description="Reference answer, or tests: makes a problem of the row.")
    response: str | None = Field(default=None, description="What to learn from: makes a conversation of the row.")
    messages: str | None = Field(default=None, description="Turns, the response included; instead of the two above.")
    ability: Literal["math", "code"] = Field(default="math", description="Which judge the problems of the source have.")
    id: str | None = Field(default=None, description="What names the row.")
    difficulty: str | None = Field(default=None, description="The label that results are grouped by.")

    @model_validator(mode="after")
    def _one_kind(self) -> "ColumnsConfig":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("name the column of exactly one of prompt and messages")
        if self.messages is not None and (self.answer or self.response):
            raise ValueError("messages hold the response already; leave out answer and response")
        if self.prompt is not None and self.answer and self.response:
            raise ValueError("answer makes problems and response makes conversations; name one of them")
        return self


class SourceConfig(Strict):
    """One place that samples come from: a file, or a data set of the Hugging Face hub, which is streamed."""

    name: str = Field(description="How the funnel names it.", min_length=1)
    data: Path | None = Field(default=None, description="JSONL, JSON or Parquet; exactly one of data and hub.")
    hub: str | None = Field(
        default=None, description="Name of a data set, or a folder that `datasets` can load.", min_length=1
    )
    subset: str | None = Field(default=None, description="The data set's configuration, where it has several.")
    split: str = Field(default="train", description="The data set's split.")
    revision: str | None = Field(default=None, description="The data set's commit; pin it to get the same rows again.")
    format: Format | None = Field(default=None, description="A ready mapping of columns, by its name.")
    columns: ColumnsConfig | None = Field(default=None, description="A mapping of your own, instead of a format.")
    licence: str = Field(default="", description="Shown on the page, and kept with the counts.")
    quality: int | None = Field(default=None, description="Rank among the sources, 1 is the best.", ge=1)

    @model_validator(mode="after")
    def _one_place_one_mapping(self) -> "SourceConfig":
        if (self.data is None) == (self.hub is None):
            raise ValueError("give exactly one of data and hub")
        if self.format is not None and self.columns is not None:
            raise ValueError("give a format or columns, not both")
        if self.hub is None and (self.subset or self.revision or self.split != "train"):
            raise ValueError("subset, split and revision belong to a data set of the hub; remove them")
        return self


def differing_names(sources: Sequence[SourceConfig]) -> None:
    """A ValueError where two sources have one name."""
    names = [source.name for source in sources]
    if len(set(names)) != len(names):
        raise ValueError(f"the names of sources must differ, got {', '.join(names)}")
