"""Reinforcement learning: objective, rewards, filters, stages."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from gppo.config.base import Strict
from gppo.config.optimizer import OptimizerConfig


class ObjectiveConfig(Strict):
    """Which weight every token gets. Parameters left out take the objective's own published defaults."""

    name: str = Field("gppo", description="A key of gppo.objectives.OBJECTIVES.")
    params: dict[str, float] = Field(
        default_factory=dict, description="Keyword arguments of the objective, e.g. epsilon_high: 0.28, beta_low: 0.5."
    )
    dual_clip: float | None = Field(None, description="Drop tokens with A < 0 and a ratio above this. Off by default.", gt=1)
    dual_clip_keep: bool = Field(False, description="Give those tokens the weight dual_clip instead of 0.")
    normalisation: Literal["token_mean", "sequence_mean", "constant"] | None = Field(
        None, description="Where not given, the one the objective's paper states (gspo: sequence_mean)."
    )
    constant_length: int | None = Field(None, description="Divisor of 'constant', e.g. the longest response.", ge=1)


class CorrectionConfig(Strict):
    """Importance correction between the sampler's and the trainer's probabilities."""

    kind: Literal["none", "tis", "icepop", "mis"] = Field("none", description="Truncated IS, IcePop, or masked IS.")
    cap: float = Field(2.0, description="Upper bound (tis, mis).", gt=0)
    low: float = Field(0.5, description="Lower bound (icepop).", gt=0)
    high: float = Field(5.0, description="Upper bound (icepop).", gt=0)


class LMLossConfig(Strict):
    """Next-token loss on fully correct responses, the paper's alpha."""

    alpha: float = Field(0.1, description="Weight of the term; 0 turns it off.", ge=0)
    include_dropped_groups: bool = Field(False, description="Also learn from groups whose every answer was correct.")


class KLConfig(Strict):
    """Penalty for leaving a frozen reference model. Off in the paper."""

    beta: float = Field(0.0, description="Weight; 0 loads no reference model.", ge=0)
    estimator: Literal["k1", "k2", "k3"] = Field("k3", description="http://joschu.net/blog/kl-approx.html")


class RewardConfig(Strict):
    """What a response earns."""

    code: Literal["pass_rate", "signed", "all_or_nothing"] = Field("pass_rate", description="From tests passed.")
    require_thinking: bool = Field(True, description="Whether a response must close its <think></think>.")
    format_penalty: float = Field(0.5, description="Below the task's lowest reward when the format is broken.", ge=0)
    judge_timeout: float = Field(5.0, description="Seconds for one answer before its worker is killed.", gt=0)
    judge_workers: int = Field(1, description="Processes that judge.", ge=1)
    max_infra_share: float = Field(0.05, description="Above this share of unjudged responses the run stops.", ge=0, le=1)


class OverlongConfig(Strict):
    """What becomes of responses cut at the limit (DAPO's two remedies)."""

    filter: bool = Field(False, description="Leave truncated responses out of the policy gradient.")
    soft_buffer: int = Field(0, description="Tokens before the limit over which a penalty grows linearly; 0 is off.", ge=0)
    soft_penalty: float = Field(1.0, description="The penalty at the limit.", ge=0)


class StageSettings(Strict):
    """What may differ between stages. Set on rl it holds for all of them; set on a stage, for that one."""

    prompts_per_step: int = Field(128, description="Problems whose groups make one step.", ge=1)
    group_size: int = Field(8, description="Responses a problem.", ge=1)
    mini_batch_prompts: int = Field(16, description="Problems an optimizer step; prompts_per_step gives one update.", ge=1)
    epochs: int = Field(1, description="Passes over a step's rollouts.", ge=1)
    learning_rate: float = Field(1e-6, description="Peak learning rate.", gt=0)
    max_prompt_tokens: int = Field(4096, description="Longer prompts are left out and counted.", ge=1)
    max_response_tokens: int = Field(28672, description="Responses are cut here.", ge=1)
    temperature: float = Field(1.0, description="Sampling temperature; RL never truncates the distribution.", gt=0)


class StageConfig(Strict):
    """One stage, e.g. math, then code."""

    name: str = Field(description="Names the stage in metrics.", min_length=1)
    data: Path = Field(description="JSONL or Parquet of problems.")
    steps: int = Field(description="Training steps.", ge=1)
    prompts_per_step: int | None = None
    group_size: int | None = None
    mini_batch_prompts: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    max_prompt_tokens: int | None = None
    max_response_tokens: int | None = None
    temperature: float | None = None


class ResolvedStage(StageSettings):
    """A stage with every setting filled in."""

    name: str
    data: Path
    steps: int

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


class RLConfig(StageSettings):
    """RL with groups; defaults are the paper's math stage."""

    stages: list[StageConfig] = Field(description="Run in order, sharing the model and the optimizer.", min_length=1)
    objective: ObjectiveConfig = Field(default_factory=ObjectiveConfig, description="The token weights.")
    advantage_std: Literal["population", "sample", "none"] = Field(
        "population", description="What divides R - mean(R); 'none' is dr_grpo."
    )
    zero_advantage: Literal["drop", "resample", "keep"] = Field(
        "drop", description="Groups whose rewards are all equal: drop them, draw others instead, or keep them."
    )
    max_generation_batches: int = Field(2, description="With resample: how often a step may draw.", ge=1)
    correction: CorrectionConfig = Field(default_factory=CorrectionConfig, description="Sampler against trainer.")
    old_logprobs: Literal["auto", "sampled", "recompute"] = Field(
        "auto", description="auto takes the sampler's where they agree with the trainer's, else recomputes."
    )
    lm_loss: LMLossConfig = Field(default_factory=LMLossConfig, description="Next-token loss on correct responses.")
    kl: KLConfig = Field(default_factory=KLConfig, description="Distance to the starting model.")
    reward: RewardConfig = Field(default_factory=RewardConfig, description="What a response earns.")
    overlong: OverlongConfig = Field(default_factory=OverlongConfig, description="Truncated responses.")
    optimizer: OptimizerConfig = Field(
        default_factory=lambda: OptimizerConfig(warmup_steps=10),
        description="learning_rate here is replaced by the stage's.",
    )
    micro_batch_tokens: int = Field(16384, description="Token budget of one forward pass, padding included.", ge=1)
    sampler_rows: int = Field(256, description="Responses decoded side by side.", ge=1)
    evaluate_every: int = Field(0, description="Steps between evaluations; 0 only before and after.", ge=0)
    save_every: int = Field(10, description="Steps between checkpoints.", ge=1)
    keep_checkpoints: int = Field(2, description="How many checkpoints stay on disk.", ge=1)
    save_rollouts: bool = Field(True, description="Write every response with its per-token fields.")

    def resolved_stages(self) -> list[ResolvedStage]:
        """The stages with what they leave out filled in from rl."""
        shared = {key: getattr(self, key) for key in StageSettings.model_fields}
        return [
            ResolvedStage(**(shared | stage.model_dump(exclude_none=True))) for stage in self.stages
        ]

    @model_validator(mode="after")
    def _stages_are_sound(self) -> "RLConfig":
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"rl.stages: names must differ, got {', '.join(names)}")
        self.resolved_stages()
        if self.objective.normalisation == "constant" and self.objective.constant_length is None:
            raise ValueError("rl.objective.normalisation 'constant' needs rl.objective.constant_length")
        return self
