"""TRL's settings, with the objective in place of TRL's own loss."""

from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig

from gppo.objectives import DEFAULT_NORMALISATION, TOKEN_LOCAL, Objective, default_params, get_objective
from gppo.types import UserError

#: What TRL's loss types normalise by; its others are objectives of their own.
NORMALISING = ("dapo", "grpo", "bnpo", "dr_grpo")
#: Our parameters by the names that they have here: TRL's own where it has one.
_NAMES = {
    "epsilon_low": "epsilon",
    "epsilon_high": "epsilon_high",
    "beta_low": "beta_low",
    "beta_high": "beta_high",
    "tau_positive": "tau_positive",
    "tau_negative": "tau_negative",
    "ratio_cap": "ratio_cap",
}


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass
class GPPOConfig(GRPOConfig):
    """Settings of ``GPPOTrainer``: all of TRL's, and these. Parameters left out take the objective's published values.

    Args:
        objective: a key of ``gppo.objectives.OBJECTIVES``.
        epsilon: lower side of the clip range (epsilon_low).
        epsilon_high: upper side of the clip range. Not ``epsilon`` where left out, as in TRL.
        beta_low: gppo, ce_gppo: what is kept below the clip range.
        beta_high: gppo, ce_gppo: what is kept above it.
        tau_positive: sapo.
        tau_negative: sapo.
        ratio_cap: aspo, dcpo.
        delta: TRL's two-sided clipping, here for every objective: tokens with A < 0 and a ratio above it get weight 0.
        dual_clip_keep: give those tokens the weight ``delta`` instead.
        loss_type: how the loss is normalised: dapo, grpo, bnpo or dr_grpo. Left out, by the objective: grpo (the mean
            over responses) for gspo, else dapo (the mean over tokens).
        lm_alpha: weight of the next-token loss on correct responses, the paper's alpha; the paper has 0.1.
        lm_correct_reward: a response whose weighted sum of rewards reaches it is correct.
        use_bias_correction_kl: off, unlike in TRL; it multiplies the KL term by a ratio that is steered here.

    Raises:
        UserError: the objective or a parameter does not exist, or a setting of TRL contradicts it.
    """

    objective: str = _setting("gppo", "A key of gppo.objectives.OBJECTIVES.")
    epsilon: float | None = _setting(None, "Lower side of the clip range.")
    epsilon_high: float | None = _setting(None, "Upper side of the clip range.")
    beta_low: float | None = _setting(None, "gppo, ce_gppo: what is kept below the clip range.")
    beta_high: float | None = _setting(None, "gppo, ce_gppo: what is kept above the clip range.")
    tau_positive: float | None = _setting(None, "sapo: temperature where A > 0.")
    tau_negative: float | None = _setting(None, "sapo: temperature where A <= 0.")
    ratio_cap: float | None = _setting(None, "aspo, dcpo: the largest ratio.")
    dual_clip_keep: bool = _setting(False, "Give tokens beyond delta the weight delta instead of 0.")
    loss_type: str | None = _setting(None, "Normalisation: dapo, grpo, bnpo or dr_grpo.")
    lm_alpha: float = _setting(0.0, "Weight of the next-token loss on correct responses.")
    lm_correct_reward: float = _setting(1.0, "A response whose sum of rewards reaches it is correct.")
    use_bias_correction_kl: bool = _setting(False, "Not with a KL penalty: the ratio that it reads is steered.")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.weigh()
        if self.loss_type is None:
            self.loss_type = "grpo" if DEFAULT_NORMALISATION[self.objective] == "sequence_mean" else "dapo"
        if self.loss_type not in NORMALISING:
            raise UserError(
                f"loss_type '{self.loss_type}' is an objective of TRL's own: choose ours with objective=..., and with "
                f"loss_type the normalisation, one of {', '.join(NORMALISING)}"
            )
        if self.importance_sampling_level != "token":
            raise UserError(
                "importance_sampling_level has no effect here: objective='gspo' is the one with a sequence's ratio"
            )
        if self.beta and self.use_bias_correction_kl:
            raise UserError("use_bias_correction_kl reads the ratio that the objective steers; set it to False")
        if self.delta is not None and self.delta <= 1:
            raise UserError(f"delta = {self.delta:g} would drop tokens inside the clip range; give more than 1")
        if self.lm_alpha < 0:
            raise UserError(f"lm_alpha = {self.lm_alpha:g} would unlearn what is right; give 0 or more")

    @property
    def objective_params(self) -> dict[str, float]:
        """The objective's parameters that differ from its published ones, by our names."""
        return {name: value for name, here in _NAMES.items() if (value := getattr(self, here)) is not None}

    @property
    def clip_range(self) -> tuple[float, float]:
        """epsilon_low, epsilon_high that ratios of single tokens are counted against; the paper's where it has none."""
        known = default_params(self.objective) | self.objective_params if self.objective in TOKEN_LOCAL else {}
        return known.get("epsilon_low", 0.2), known.get("epsilon_high", 0.28)

    @property
    def ratio_is_one(self) -> bool:
        """Whether every update learns from what its own weights have sampled: then all objectives are the same."""
        return self.gradient_accumulation_steps % (self.steps_per_generation * self.num_iterations) == 0

    def weigh(self) -> Objective:
        """The objective with its parameters bound."""
        return get_objective(self.objective, self.objective_params)
