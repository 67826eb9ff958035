"""What is scored, and how it is sampled."""

import difflib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from gppo.config.base import Strict
from gppo.config.benchmarks import BENCHMARKS, PRESETS
from gppo.config.endpoint import EndpointConfig


class SamplingConfig(Strict):
    """One way of drawing tokens."""

    temperature: float = Field(default=0.6, description="0 is greedy.", ge=0)
    top_p: float = Field(default=0.95, description="1 keeps the whole distribution.", gt=0, le=1)
    top_k: int = Field(default=0, description="0 keeps the whole distribution.", ge=0)
    repetition_penalty: float = Field(
        default=1.0,
        description="Logits of tokens that prompt or response hold already are divided by it where positive, else "
        "multiplied; 1 leaves them.",
        gt=0,
    )
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
        if self.repetition_penalty != 1:
            parts.append(f"penalty {self.repetition_penalty:g}")
        return " ".join(parts)


class EvaluationSet(Strict):
    """Problems held out from training: a public benchmark, a file of problem records, or a benchmark's own file."""

    benchmark: str | None = Field(
        default=None, description="A public benchmark, e.g. aime24: its prompt, samples and judge; docs/evaluation.md."
    )
    name: str = Field(description="How tables name it; the benchmark's name where not given.", min_length=1)
    data: Path | None = Field(
        default=None,
        description="JSONL or Parquet of problems; for a benchmark its own rows, instead of those of the hub.",
    )
    limit: int | None = Field(default=None, description="Only the first so many problems.", ge=1)

    @model_validator(mode="before")
    @classmethod
    def _named_after_its_benchmark(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("name") is None and value.get("benchmark") is not None:
            return value | {"name": value["benchmark"]}
        return value

    @field_validator("benchmark")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in BENCHMARKS:
            near = difflib.get_close_matches(name, BENCHMARKS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(BENCHMARKS)}"
            raise ValueError(f"no benchmark is called '{name}'; {hint}")
        return name

    @model_validator(mode="after")
    def _has_problems(self) -> "EvaluationSet":
        if self.benchmark is None and self.data is None:
            raise ValueError("give benchmark (a public one), data (a file of problems), or both")
        return self


class EvaluateConfig(Strict):
    """Every set is sampled in every way listed."""

    sets: list[EvaluationSet] = Field(description="What is scored.", min_length=1)
    sampling: list[SamplingConfig] | None = Field(
        default=None,
        description="How it is sampled. Where not given, each benchmark in its own way, other sets 8 times at 0.6.",
        min_length=1,
    )
    preset: Literal["paper", "released"] = Field(
        default="paper",
        description="How benchmarks are sampled where sampling is not given: as the paper says, or as its released "
        "script does (top-k 20 and repetition penalty 1.05 besides).",
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
        labels = [way.label for way in self.sampling or ()]
        if len(set(labels)) != len(labels):
            raise ValueError(f"two ways of sampling are the same: {', '.join(labels)}")
        return self

    def ways(self, name: str) -> list[SamplingConfig]:
        """In which ways the set of this name is sampled."""
        if self.sampling is not None:
            return self.sampling
        benchmark = self.benchmark(name)
        if benchmark is None:
            return [SamplingConfig()]
        return [SamplingConfig.model_validate(PRESETS[self.preset] | {"k": BENCHMARKS[benchmark].k})]

    def benchmark(self, name: str) -> str | None:
        """The benchmark that the set of this name is, None for another set."""
        return next((item.benchmark for item in self.sets if item.name == name), None)
