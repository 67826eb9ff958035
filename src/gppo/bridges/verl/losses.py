"""Our objectives as verl's policy losses, and the LM loss on correct responses beside them.

Imported in verl's processes. Importing it registers one loss for each objective: ``gppo`` for gppo, ``gppo_NAME`` for
the others (verl has a cispo, a gspo and a sapo of its own). The loss is  -c log pi  with the detached coefficient
c = correction w A  of ``gppo.objectives``, so its gradient is ours whatever verl does around it.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from verl.trainer.ppo.core_algos import agg_loss, register_policy_loss
from verl.utils.metric import AggregationType, Metric
from verl.workers.config import PolicyLossConfig
from verl.workers.utils.losses import ppo_loss
from verl.workers.utils.padding import no_padding_2_padding

from gppo.objectives import (
    OBJECTIVES,
    TOKEN_LOCAL,
    TokenFields,
    default_params,
    get_objective,
    token_coefficients,
    token_weights,
    update_diagnostics,
)

_SHOWN = (
    "clip_positive_high",
    "clip_positive_low",
    "clip_negative_high",
    "clip_negative_low",
    "clip_fraction",
    "given_back",
    "saturated",
    "kl_old",
    "ratio_mean",
)


@dataclass
class GppoLossConfig(PolicyLossConfig):
    """``actor.policy_loss`` with what our objectives take; name it in ``actor.policy_loss._target_``.

    Args:
        params: of the objective, where they differ from its published defaults.
        dual_clip: bound on the ratio of tokens with A < 0; None is off.
        dual_clip_keep: give those tokens the weight ``dual_clip`` instead of 0.
        lm_alpha: weight of the LM loss; only our trainer adds it.
    """

    params: dict[str, float] = field(default_factory=dict)
    dual_clip: float | None = None
    dual_clip_keep: bool = False
    lm_alpha: float = 0.0


def loss_name(objective: str) -> str:
    """What verl calls an objective."""
    return objective if objective == "gppo" else f"gppo_{objective}"


def policy_loss(
    name: str,
    old_log_prob: torch.Tensor,
    log_prob: torch.Tensor,
    advantages: torch.Tensor,
    response_mask: torch.Tensor,
    loss_agg_mode: str,
    config: Any,
    rollout_is_weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of one micro-batch, and what clipping did to it.

    Args:
        name: a key of ``OBJECTIVES``.
        old_log_prob, log_prob, advantages: [B, T], nats.
        response_mask: [B, T].
        loss_agg_mode: verl's normalisation.
        config: the actor's; ``policy_loss`` may be verl's own class, then the published defaults hold.
        rollout_is_weights: [B, T], the correction between sampler and trainer, where there is one.
    """
    settings = config.policy_loss
    params = dict(settings.get("params") or {})
    dual = {"dual_clip": settings.get("dual_clip"), "dual_clip_keep": bool(settings.get("dual_clip_keep", False))}
    objective, mask_BT = get_objective(name, params), response_mask.bool()
    fields = TokenFields(
        log_ratio=(log_prob - old_log_prob).detach(),
        advantages=advantages,
        mask=mask_BT,
        norm=torch.ones_like(log_prob),  # agg_loss applies it
        old_logprobs=old_log_prob,
        correction=rollout_is_weights,
    )
    c_BT = token_coefficients(fields, objective, **dual)
    loss = agg_loss(
        loss_mat=-c_BT * log_prob, loss_mask=response_mask, loss_agg_mode=loss_agg_mode, **config.global_batch_info
    )
    known: dict[str, Any] = default_params(name) | params if name in TOKEN_LOCAL else {}
    shown = update_diagnostics(
        fields.log_ratio,
        advantages,
        token_weights(fields, objective, **dual),
        mask_BT,
        **{key: value for key, value in known.items() if key.startswith("epsilon")},
    )
    return loss, {f"actor/{key}": float(shown[key]) for key in _SHOWN}


def loss_with_lm(
    config: Any, model_output: dict[str, Any], data: Any, dp_group: Any = None
) -> tuple[torch.Tensor, Any]:
    """verl's loss of a micro-batch, and  - sum_t lm_weights_t log pi_t  where our trainer gave the rows such weights.

    The weights are alpha / N_correct over the whole mini-batch of all ranks. FSDP takes the mean of the ranks'
    gradients, hence the factor ``dp_size``.
    """
    loss, metrics = ppo_loss(config, model_output, data, dp_group)
    if "lm_weights" in data:
        logprobs_BT = no_padding_2_padding(model_output["log_probs"], data)
        weights_BT = data.select("lm_weights").to_padded_tensor()["lm_weights"].to(logprobs_BT)
        ranks = data["dp_size"]
        lm_loss = -torch.where(weights_BT > 0, weights_BT * logprobs_BT, 0.0).sum() * ranks
        loss = loss + lm_loss
        mass = weights_BT.sum() * ranks / config.policy_loss.get("lm_alpha")
        metrics["actor/lm_loss"] = Metric(value=lm_loss, aggregation=AggregationType.SUM)
        metrics["actor/lm_mass"] = Metric(value=mass, aggregation=AggregationType.SUM)
    return loss, metrics


def _register(name: str) -> None:
    def loss(
        old_log_prob: torch.Tensor,
        log_prob: torch.Tensor,
        advantages: torch.Tensor,
        response_mask: torch.Tensor,
        loss_agg_mode: str = "token-mean",
        config: Any = None,
        rollout_is_weights: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, dict[str, float]]:
        return policy_loss(
            name, old_log_prob, log_prob, advantages, response_mask, loss_agg_mode, config, rollout_is_weights
        )

    register_policy_loss(loss_name(name))(loss)


for _name in OBJECTIVES:
    _register(_name)
