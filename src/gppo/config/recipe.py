"""The recipe: one strict model of everything a run can be told. The field descriptions are the reference."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from gppo.config.base import Strict
from gppo.config.data import CurateConfig
from gppo.config.distill import DistillConfig
from gppo.config.evaluation import EvaluateConfig
from gppo.config.model import ModelConfig
from gppo.config.parallel import ParallelConfig
from gppo.config.rl import RLConfig
from gppo.config.sft import SFTConfig
from gppo.config.verl import VerlConfig
from gppo.config.vllm import VLLMConfig


class Recipe(Strict):
    """One run. A command reads the sections it needs and says so where one is missing."""

    name: str = Field(description="Names the run and its folder.", min_length=1)
    seed: int = Field(default=0, description="Seeds data order, initial weights and every sampled token.", ge=0)
    run_dir: Path | None = Field(default=None, description="The run folder; runs/<name> where not given.")
    device: Literal["auto", "cpu", "cuda"] = Field(default="auto", description="auto takes a GPU where there is one.")
    threads: int | None = Field(
        default=None, description="CPU threads for torch; torch's own choice where not given.", ge=1
    )
    trackers: list[Literal["tensorboard", "wandb"]] = Field(
        default_factory=list, description="Who else is told the metrics; each needs its extra, e.g. gppo[tensorboard]."
    )
    model: ModelConfig | None = Field(
        default=None, description="The model that is trained or evaluated; curate and distill need none."
    )
    curate: list[CurateConfig] | None = Field(
        default=None, description="How each training set is made from sources.", min_length=1
    )
    distill: DistillConfig | None = Field(default=None, description="How a teacher's responses are collected.")
    sft: SFTConfig | None = Field(default=None, description="Supervised fine-tuning.")
    rl: RLConfig | None = Field(default=None, description="Reinforcement learning.")
    evaluate: EvaluateConfig | None = Field(default=None, description="What is scored, and how it is sampled.")
    parallel: ParallelConfig = Field(
        default_factory=ParallelConfig, description="How several GPUs of one machine share the model, under torchrun."
    )
    verl: VerlConfig | None = Field(default=None, description="The cluster of --engine verl; no other engine reads it.")
    vllm: VLLMConfig | None = Field(default=None, description="vLLM, for rl.sampler and evaluate.engine vllm.")

    @property
    def folder(self) -> Path:
        """Where the run is kept."""
        return self.run_dir or Path("runs") / self.name

    @model_validator(mode="after")
    def _vllm_where_it_is_asked_for(self) -> "Recipe":
        asked = [
            key
            for key, wanted in (
                ("rl.sampler", self.rl is not None and self.rl.sampler == "vllm"),
                ("evaluate.engine", self.evaluate is not None and self.evaluate.engine == "vllm"),
            )
            if wanted
        ]
        if asked and self.vllm is None:
            raise ValueError(
                f"{asked[0]} is vllm and there is no section vllm; add one with python: the interpreter "
                "of an environment that has vLLM"
            )
        return self

    @model_validator(mode="after")
    def _context_holds_the_responses(self) -> "Recipe":
        if self.rl and self.model and self.model.max_context:
            for stage in self.rl.resolved_stages():
                longest = stage.max_prompt_tokens + stage.max_response_tokens
                if longest > self.model.max_context:
                    raise ValueError(
                        f"rl: max_prompt_tokens + max_response_tokens is {longest} in stage '{stage.name}', more than "
                        f"model.max_context {self.model.max_context}; lower one or raise the context"
                    )
        return self

    @model_validator(mode="after")
    def _ratios_without_dropout(self) -> "Recipe":
        if self.rl and self.model and self.model.lora and self.model.lora.dropout:
            raise ValueError(
                "model.lora.dropout with an rl section: importance ratios would measure its noise; set it to 0"
            )
        return self
