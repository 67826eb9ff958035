"""GRPOTrainer with the gradient of any of our objectives.

TRL's loss is -ratio * A a token, with advantages that may be one a token. Given the log-probabilities of this very
forward as the old ones, its ratio is 1 and its gradient  A grad log pi(token).  Given w A as the advantages, that is
w A grad log pi(token),  the one sum that every objective is (docs/trl.md). Everything else that TRL does with a token -
normalisation, masks, KL, its correction for vLLM - stays as it is, and its loss method is not copied.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from gppo.bridges.trl.config import GPPOConfig
from gppo.objectives import TokenFields, token_weights, update_diagnostics
from gppo.types import UserError

#: TRL's names for shares that exist here too; what it counts itself, at a ratio of 1, is 0.
_OURS_FOR_TRL = {"low_mean": "clip_negative_low", "high_mean": "clip_positive_high", "region_mean": "clip_fraction"}
_QUADRANTS = ("positive_high", "positive_low", "negative_high", "negative_low")
_SHOWN = ("given_back", "would_drop", "kl_old", "ratio_mean", "saturated")


@dataclass(slots=True)
class _Steering:
    """What one loss computes on the way.

    Args:
        inputs: TRL's, to be changed once the log-probabilities are known.
        logps_BT: log-probabilities with their gradient.
        shown: numbers about the clipping, and over how many tokens.
    """

    inputs: dict[str, Any]
    logps_BT: Tensor | None = None
    shown: tuple[dict[str, float], int] | None = None


class GPPOTrainer(GRPOTrainer):
    """TRL's GRPOTrainer; ``args.objective`` decides the gradient.

    Args:
        model, reward_funcs, others, options: as in TRL.
        args: the settings.

    Raises:
        UserError: ``args`` is not a ``GPPOConfig``.

    Warns where the settings make every ratio 1, so that no objective differs from another.
    """

    _tag_names = ("trl", "gppo")
    _name = "GPPO"
    _paper = {  # noqa: RUF012  (TRL's form)
        "title": "Klear-Reasoner: Advancing Reasoning Capability via Gradient-Preserving Clipping Policy Optimization",
        "id": "2508.07629",
    }

    def __init__(
        self, model: Any, reward_funcs: Any = None, args: GPPOConfig | None = None, *others: Any, **options: Any
    ) -> None:
        args = GPPOConfig() if args is None else args
        if not isinstance(args, GPPOConfig):
            raise UserError("GPPOTrainer takes a GPPOConfig as args; every setting of GRPOConfig is one of it too")
        if args.ratio_is_one:
            warnings.warn(
                "every importance ratio will be 1, so that all objectives are the same: each update learns from "
                "responses of its own weights; raise steps_per_generation above gradient_accumulation_steps "
                f"({args.gradient_accumulation_steps}), or raise num_iterations",
                stacklevel=2,
            )
        super().__init__(model, reward_funcs, args, *others, **options)
        self.epsilon_low, self.epsilon_high = args.clip_range
        self._weigh = args.weigh()
        self._steering: _Steering | None = None
        self._rewards_per_func: Tensor | None = None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        steering = self._steering = _Steering(dict(inputs))
        try:
            loss = super()._compute_loss(model, steering.inputs)
        finally:
            self._steering = None
        self._log_clipping(steering)
        return loss + self._lm_loss(steering) if "lm_rows" in inputs else loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **options: Any) -> Any:
        """TRL's; inside a loss, what it has found is what the loss is steered by."""
        found = super()._get_per_token_logps_and_entropies(*args, **options)
        if self._steering is not None:
            self._steer(self._steering, found[0])
        return found

    def _steer(self, steering: _Steering, logps_BT: Tensor) -> None:
        """Put w A in place of the advantages, and the present log-probabilities in place of the old ones."""
        inputs, now_BT = steering.inputs, logps_BT.detach()
        old_BT = inputs.get("old_per_token_logps")
        old_BT = now_BT if old_BT is None else old_BT
        mask_BT = _loss_mask(inputs).bool()
        advantages = inputs["advantages"]
        advantages_BT = (advantages[:, None] if advantages.dim() == 1 else advantages).expand(now_BT.shape)
        fields = TokenFields(now_BT - old_BT, advantages_BT, mask_BT, norm=mask_BT, old_logprobs=old_BT)
        w_BT = token_weights(fields, self._weigh, dual_clip=self.args.delta, dual_clip_keep=self.args.dual_clip_keep)
        steering.logps_BT = logps_BT
        low, high = self.args.clip_range
        numbers = update_diagnostics(fields.log_ratio, advantages_BT, w_BT, mask_BT, epsilon_low=low, epsilon_high=high)
        steering.shown = numbers, int(mask_BT.sum())
        # TRL's off-policy mask takes the old ones for the sampler's where there are none of it.
        inputs.setdefault("sampling_per_token_logps", old_BT)
        inputs |= {"advantages": w_BT * advantages_BT, "old_per_token_logps": now_BT}

    def _log_clipping(self, steering: _Steering) -> None:
        """What clipping did, over all processes: shares by quadrant, in TRL's metrics."""
        assert steering.shown is not None
        numbers, count = steering.shown
        names = [*(f"clip_{quadrant}" for quadrant in _QUADRANTS), "clip_fraction", *_SHOWN]
        sums = torch.tensor([*(numbers[name] * count for name in names), count], device=self.accelerator.device)
        sums = self.accelerator.reduce(sums, reduction="sum")
        means = dict(zip(names, (sums[:-1] / sums[-1].clamp(min=1)).tolist(), strict=True))
        metrics = self._metrics["train" if self.model.training else "eval"]
        for theirs, ours in _OURS_FOR_TRL.items():
            metrics[f"clip_ratio/{theirs}"][-1] = means[ours]
        for theirs in ("low_min", "high_max"):  # of whole responses, at a ratio of 1: they say nothing
            metrics.pop(f"clip_ratio/{theirs}", None)
        for quadrant in _QUADRANTS:
            metrics[f"clip_ratio/{quadrant}"].append(means[f"clip_{quadrant}"])
        for name in _SHOWN:
            metrics[f"gppo/{name}"].append(means[name])

    def _calculate_rewards(self, *args: Any, **options: Any) -> Tensor:
        self._rewards_per_func = super()._calculate_rewards(*args, **options)
        return self._rewards_per_func

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        if self.args.lm_alpha:
            output |= self._correct_responses(output)
        return output

    def _correct_responses(self, output: dict[str, Any]) -> dict[str, Tensor]:
        """Rows of the LM loss: correct responses of groups that are not all alike; and their tokens, everywhere."""
        assert self._rewards_per_func is not None
        rows = len(output["completion_ids"])
        first = self.accelerator.process_index * rows
        rewards_BF = self._rewards_per_func[first : first + rows]
        reward_B = (rewards_BF * self.reward_weights.to(rewards_BF.device)).nansum(dim=1)
        correct_B = (reward_B >= self.args.lm_correct_reward) & (output["advantages"] != 0)
        tokens = (_loss_mask(output) * correct_B[:, None]).sum()
        return {"lm_rows": correct_B, "lm_tokens": self.accelerator.gather(tokens).sum()}

    def _lm_loss(self, steering: _Steering) -> Tensor:
        """-alpha sum log pi / N over correct responses, N their tokens a mini-batch, counted as TRL counts for dapo."""
        assert steering.logps_BT is not None
        inputs = steering.inputs
        count = inputs["lm_tokens"].clamp(min=1) / self.accelerator.num_processes
        if self.model.training:  # in evaluation a batch is neither split nor accumulated
            count = count * self.current_gradient_accumulation_steps / self.args.steps_per_generation
        mask_BT = _loss_mask(inputs) * inputs["lm_rows"][:, None]
        loss = -self.args.lm_alpha * (steering.logps_BT * mask_BT).sum() / count
        # TRL shows the mean over micro-batches, of which each holds its part of the sum.
        shown = loss.detach() * (self.current_gradient_accumulation_steps if self.model.training else 1)
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["gppo/lm_loss"].append(self.accelerator.gather(shown).mean().item())
        return loss


def _loss_mask(inputs: dict[str, Any]) -> Tensor:
    """The tokens that TRL's loss is over, [B, T]."""
    mask_BT = inputs["completion_mask"]
    return mask_BT * inputs["tool_mask"] if "tool_mask" in inputs else mask_BT
