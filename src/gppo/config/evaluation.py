"""What is scored, and how it is sampled."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from gppo.config.base import Strict
from gppo.config.endpoint import EndpointConfig


class SamplingConfig(Strict):
    """One way of drawing tokens."""

    temperature: float = Field(default=0.6, description="0 is greedy.", ge=0)
    top_p: float = Field(default=0.95, description="1 keeps the whole distribution.", gt=0, le=1)
    top_k: int = Field(default=0, description="0 keeps the whole distribution.", ge=0)
    k: int = Field(default=8, description="Samples a problem.", ge=1)

    @model_validator(mode="after")
    def _greedy_once(self) -> "SamplingConfig":
        if self.temperature == 0 and self.k != 1:
            raise ValueError("temperature 0 gives the same answer k times; set k: 1")
        return self

    @property
    def label(self) -> str:
        """How tables name it."""
        if self.temperature == 0:
            return "greedy"
        parts = [f"T={self.temperature:g}"]
        if self.top_p < 1:
            parts.append(f"top-p {self.top_p:g}")
        if self.top_k:
            parts.append(f"top-k {self.top_k}")
        return " ".join(parts)


class EvaluationSet(Strict):
    """Problems held out from training."""

    name: str = Field(description="How tables name it.", min_length=1)
    data: Path = Field(description="JSONL or Parquet of problems.")
    limit: int | None = Field(default=None, description="Only the first so many problems.", ge=1)


class EvaluateConfig(Strict):
    """Every set is sampled in every way listed."""

    sets: list[EvaluationSet] = Field(description="What is scored.", min_length=1)
    sampling: list[SamplingConfig] = Field(
        default_factory=lambda: [SamplingConfig()], description="How it is sampled.", min_length=1
    )
    max_response_tokens: int = Field(
        default=32768, description="Responses are cut here, and are then never correct.", ge=1
    )
    batch_responses: int = Field(
        default=512,
        description="About so many responses are sampled, judged and put on disk together; a stopped evaluation "
        "repeats at most these.",
        ge=1,
    )
    require_thinking: bool = Field(default=False, description="Whether a response without think tags is wrong.")
    engine: Literal["local", "vllm", "openai"] = Field(
        default="local",
        description="What `gppo eval` samples from: the model, in this process or by vLLM, or a server. RL scores with "
        "its own weights and sampler all the same.",
    )
    endpoint: EndpointConfig | None = Field(default=None, description="The server, with engine openai.")

    @model_validator(mode="after")
    def _a_server_for_its_engine(self) -> "EvaluateConfig":
        if (self.engine == "openai") != (self.endpoint is not None):
            raise ValueError("engine openai and endpoint go together; give both, or neither")
        return self

    @model_validator(mode="after")
    def _results_have_names_of_their_own(self) -> "EvaluateConfig":
        names = [item.name for item in self.sets]
        if len(set(names)) != len(names):
            raise ValueError(f"the names of sets must differ, got {', '.join(names)}")
        labels = [way.label for way in self.sampling]
        if len(set(labels)) != len(labels):
            raise ValueError(f"two ways of sampling are the same: {', '.join(labels)}")
        return self
