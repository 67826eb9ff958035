"""Reinforcement learning: objective, rewards, filters, stages."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from gppo.config.base import Strict
from gppo.config.optimizer import OptimizerConfig


class ObjectiveConfig(Strict):
    """Which weight every token gets. Parameters left out take the objective's own published defaults."""

    name: str = Field(default="gppo", description="A key of gppo.objectives.OBJECTIVES.")
    params: dict[str, float] = Field(
        default_factory=dict, description="Keyword arguments of the objective, e.g. epsilon_high: 0.28, beta_low: 0.5."
    )
    dual_clip: float | None = Field(
        default=None, description="Drop tokens with A < 0 and a ratio above this. Off by default.", gt=1
    )
    dual_clip_keep: bool = Field(default=False, description="Give those tokens the weight dual_clip instead of 0.")
    normalisation: Literal["token_mean", "sequence_mean", "constant"] | None = Field(
        default=None, description="Where not given, the one the objective's paper states (gspo: sequence_mean)."
    )
    constant_length: int | None = Field(
        default=None, description="Divisor of 'constant', e.g. the longest response.", ge=1
    )


class CorrectionConfig(Strict):
    """Importance correction between the sampler's and the trainer's probabilities."""

    kind: Literal["none", "tis", "icepop", "mis"] = Field(
        default="none", description="Truncated IS, IcePop, or masked IS."
    )
    cap: float = Field(default=2.0, description="Upper bound (tis, mis).", gt=0)
    low: float = Field(default=0.5, description="Lower bound (icepop).", gt=0)
    high: float = Field(default=5.0, description="Upper bound (icepop).", gt=0)

    @model_validator(mode="after")
    def _bounds_in_order(self) -> "CorrectionConfig":
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self


class LMLossConfig(Strict):
    """Next-token loss on fully correct responses, the paper's alpha."""

    alpha: float = Field(default=0.1, description="Weight of the term; 0 turns it off.", ge=0)
    include_dropped_groups: bool = Field(
        default=False, description="Also learn from groups whose every answer was correct."
    )


class KLConfig(Strict):
    """Penalty for leaving a frozen reference model. Off in the paper."""

    beta: float = Field(default=0.0, description="Weight; 0 loads no reference model.", ge=0)
    estimator: Literal["k1", "k2", "k3"] = Field(default="k3", description="http://joschu.net/blog/kl-approx.html")


class RewardConfig(Strict):
    """What a response earns."""

    code: Literal["pass_rate", "signed", "all_or_nothing"] = Field(
        default="pass_rate", description="From tests passed."
    )
    code_tests: int = Field(default=16, description="Tests of a code problem that are run, chosen by seed.", ge=1)
    code_seconds: float = Field(default=6.0, description="Wall time of one test of a program.", gt=0)
    code_memory_mb: int = Field(default=1024, description="Memory of one test of a program, MiB.", ge=64)
    require_thinking: bool = Field(default=True, description="Whether a response must close its <think></think>.")
    format_penalty: float = Field(
        default=0.5, description="Below the task's lowest reward when the format is broken.", ge=0
    )
    judge_timeout: float = Field(default=2.0, description="Seconds for one answer before its worker is killed.", gt=0)
    judge_workers: int = Field(default=1, description="Processes that judge.", ge=1)
    max_infra_share: float = Field(
        default=0.05, description="Above this share of unjudged responses the run stops.", ge=0, le=1
    )


class OverlongConfig(Strict):
    """What becomes of responses cut at the limit (DAPO's two remedies)."""

    filter: bool = Field(default=False, description="Leave truncated responses out of the policy gradient.")
    soft_buffer: int = Field(
        default=0, description="Tokens before the limit over which a penalty grows linearly; 0 is off.", ge=0
    )
    soft_penalty: float = Field(default=1.0, description="The penalty at the limit.", ge=0)


class StageSettings(Strict):
    """What may differ between stages. Set on rl it holds for all of them; set on a stage, for that one."""

    prompts_per_step: int = Field(default=128, description="Problems whose groups make one step.", ge=1)
    group_size: int = Field(default=8, description="Responses a problem.", ge=1)
    mini_batch_prompts: int = Field(
        default=16, description="Problems an optimizer step; prompts_per_step gives one update.", ge=1
    )
    epochs: int = Field(default=1, description="Passes over a step's rollouts.", ge=1)
    learning_rate: float = Field(default=1e-6, description="Peak learning rate.", gt=0)
    max_prompt_tokens: int = Field(default=4096, description="Longer prompts are left out and counted.", ge=1)
    max_response_tokens: int = Field(default=28672, description="Responses are cut here.", ge=1)
    temperature: float = Field(
        default=1.0, description="Sampling temperature; RL never truncates the distribution.", gt=0
    )


class StageConfig(Strict):
    """One stage, e.g. math, then code."""

    name: str = Field(description="Names the stage in metrics.", min_length=1)
    data: Path = Field(description="JSONL or Parquet of problems.")
    steps: int = Field(description="Training steps.", ge=1)
    prompts_per_step: int | None = Field(default=None, description="rl.prompts_per_step, for this stage.", ge=1)
    group_size: int | None = Field(default=None, description="rl.group_size, for this stage.", ge=1)
    mini_batch_prompts: int | None = Field(default=None, description="rl.mini_batch_prompts, for this stage.", ge=1)
    epochs: int | None = Field(default=None, description="rl.epochs, for this stage.", ge=1)
    learning_rate: float | None = Field(default=None, description="rl.learning_rate, for this stage.", gt=0)
    max_prompt_tokens: int | None = Field(default=None, description="rl.max_prompt_tokens, for this stage.", ge=1)
    max_response_tokens: int | None = Field(default=None, description="rl.max_response_tokens, for this stage.", ge=1)
    temperature: float | None = Field(default=None, description="rl.temperature, for this stage.", gt=0)


class ResolvedStage(StageSettings):
    """A stage with every setting filled in."""

    name: str = Field(description="Names the stage in metrics.")
    data: Path = Field(description="JSONL or Parquet of problems.")
    steps: int = Field(description="Training steps.")

    @model_validator(mode="after")
    def _mini_batches_fit(self) -> "ResolvedStage":
        if self.group_size < 2:
            raise ValueError(
                f"stage '{self.name}': group_size 1 has no advantage (a group's mean is its only reward); use 2 or more"
            )
        if self.mini_batch_prompts > self.prompts_per_step:
            raise ValueError(
                f"stage '{self.name}': mini_batch_prompts {self.mini_batch_prompts} is more than prompts_per_step "
                f"{self.prompts_per_step}"
            )
        return self

    @property
    def on_policy(self) -> bool:
        """One update a step: every ratio is 1 and all objectives are the same."""
        return self.mini_batch_prompts == self.prompts_per_step and self.epochs == 1


_OPTIMIZER = {"warmup_steps": 10}


class RLConfig(StageSettings):
    """RL with groups; defaults are the paper's math stage."""

    stages: list[StageConfig] = Field(
        description="Run in order on one model; each warms up and begins without moments.", min_length=1
    )
    objective: ObjectiveConfig = Field(default_factory=ObjectiveConfig, description="The token weights.")
    advantage_std: Literal["population", "sample", "none"] = Field(
        default="population", description="What divides R - mean(R); 'none' is dr_grpo."
    )
    zero_advantage: Literal["drop", "resample", "keep"] = Field(
        default="drop", description="Groups whose rewards are all equal: drop them, draw others instead, or keep them."
    )
    max_generation_batches: int = Field(default=2, description="With resample: how often a step may draw.", ge=1)
    correction: CorrectionConfig = Field(default_factory=CorrectionConfig, description="Sampler against trainer.")
    old_logprobs: Literal["auto", "sampled", "recompute"] = Field(
        default="auto", description="auto takes the sampler's where they agree with the trainer's, else recomputes."
    )
    lm_loss: LMLossConfig = Field(default_factory=LMLossConfig, description="Next-token loss on correct responses.")
    kl: KLConfig = Field(default_factory=KLConfig, description="Distance to the starting model.")
    reward: RewardConfig = Field(default_factory=RewardConfig, description="What a response earns.")
    overlong: OverlongConfig = Field(default_factory=OverlongConfig, description="Truncated responses.")
    optimizer: OptimizerConfig = Field(
        default_factory=lambda: OptimizerConfig.model_validate(_OPTIMIZER),
        description="Defaults: 10 warm-up steps. The learning rate is rl.learning_rate or the stage's, never set here.",
    )
    micro_batch_tokens: int = Field(
        default=16384, description="Token budget of one forward pass; padding counts where there is any.", ge=1
    )
    sampler: Literal["local", "vllm"] = Field(
        default="local", description="What draws responses: this process, or vLLM as the section vllm says."
    )
    sampler_rows: int = Field(default=256, description="Responses decoded side by side.", ge=1)
    evaluate_every: int = Field(default=0, description="Steps between evaluations; 0 only before and after.", ge=0)
    save_every: int = Field(default=10, description="Steps between checkpoints.", ge=1)
    keep_checkpoints: int = Field(default=2, description="How many of the newest checkpoints stay.", ge=1)
    keep_best: int = Field(
        default=1, description="How many more stay: those with the best mean score of their step's evaluations.", ge=0
    )
    save_rollouts: bool = Field(default=True, description="Write every response with its per-token fields.")

    def resolved_stages(self) -> list[ResolvedStage]:
        """The stages with what they leave out filled in from rl."""
        shared = {key: getattr(self, key) for key in StageSettings.model_fields}
        return [ResolvedStage(**(shared | stage.model_dump(exclude_none=True))) for stage in self.stages]

    @field_validator("optimizer", mode="before")
    @classmethod
    def _keep_other_defaults(cls, value: Any) -> Any:
        return _OPTIMIZER | value if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _stages_are_sound(self) -> "RLConfig":
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"the names of stages must differ, got {', '.join(names)}")
        try:
            stages = self.resolved_stages()
        except ValidationError as error:
            reasons = [detail["msg"].removeprefix("Value error, ") for detail in error.errors()]
            raise ValueError("; ".join(reasons)) from error
        unused = OptimizerConfig.model_fields["learning_rate"].default
        if self.optimizer.learning_rate not in (unused, self.learning_rate):
            raise ValueError("optimizer.learning_rate has no effect here; set learning_rate on rl or on a stage")
        for stage in stages:
            self.optimizer.check_peak(stage.learning_rate)
        if self.objective.normalisation == "constant" and self.objective.constant_length is None:
            raise ValueError("objective.normalisation 'constant' needs objective.constant_length")
        return self
