"""AdamW with a schedule, gradient clipping, and a guard against gradients that are not numbers."""

import math
from typing import Any

import torch
from torch import nn

from gppo.config.optimizer import OptimizerConfig
from gppo.policy.parallel import all_finite, whole
from gppo.types import Diverged


class Optimizer:
    """Takes steps on a model's weights.

    Args:
        model: its parameters that require a gradient are trained; vectors (norms, biases) get no weight decay.
        config: rates, schedule, clipping.
        total_steps: steps of the loop, the length of the cosine schedule.
    """

    def __init__(self, model: nn.Module, config: OptimizerConfig, total_steps: int) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.dim() >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
        ]
        self.config = config
        self.total_steps = total_steps
        self.parameters = trained
        self.peak = config.learning_rate
        self.adamw = torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
        self.began = 0
        self.steps = 0
        self.bad_in_a_row = 0
        self.bad = 0

    def learning_rate(self, step: int) -> float:
        """The rate at loop step ``step`` (from 0): linear warm-up of the stage, then constant or cosine."""
        warmup, low = self.config.warmup_steps, min(self.config.min_learning_rate, self.peak)
        if step - self.began < warmup:
            return self.peak * (step - self.began + 1) / warmup
        if self.config.schedule == "constant":
            return self.peak
        done = min(1.0, (step - warmup) / max(1, self.total_steps - warmup))
        return low + (self.peak - low) * 0.5 * (1 + math.cos(math.pi * done))

    def begin_stage(self, at: int) -> None:
        """Start anew on other data: no moments, and the warm-up counts from loop step ``at``.

        Moments of the stage before are small where its data did not reach, and Adam divides by them.
        """
        self.adamw.state.clear()
        self.began = at

    def step(self, at: int) -> float:
        """Clip, step, clear. Returns the gradient norm before clipping.

        Args:
            at: the loop's step (from 0), where the schedule stands; RL takes several updates at one.

        A non-finite gradient changes nothing: the update is skipped and counted.

        Raises:
            Diverged: ``max_bad_updates`` in a row were skipped.
        """
        norm = float(whole(torch.nn.utils.clip_grad_norm_(self.parameters, self.config.max_grad_norm)))
        if math.isfinite(norm):
            for group in self.adamw.param_groups:
                group["lr"] = self.learning_rate(at)
            self.adamw.step()
            self.steps += 1
            self.bad_in_a_row = 0
        else:
            self.bad += 1
            self.bad_in_a_row += 1
        self.adamw.zero_grad(set_to_none=True)
        if self.bad_in_a_row >= self.config.max_bad_updates:
            raise Diverged(
                f"the gradient was not finite in {self.bad_in_a_row} updates in a row: the run has diverged; lower the "
                "learning rate, or continue from an earlier checkpoint"
            )
        return norm

    def refuse_infinite_weights(self) -> None:
        """A finite gradient may still throw the weights out of their range. One pass over them.

        Raises:
            Diverged: a weight is not a finite number.
        """
        if not all_finite([p.detach() for p in self.parameters]):
            raise Diverged(
                "an update made weights that are not finite: the run has diverged; lower the learning rate, or "
                "continue from an earlier checkpoint"
            )

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs."""
        counters = {"began": self.began, "steps": self.steps, "bad": self.bad, "in_a_row": self.bad_in_a_row}
        return {"adamw": self.adamw.state_dict(), **counters}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` left off."""
        self.adamw.load_state_dict(state["adamw"])
        self.began = state["began"]
        self.steps, self.bad, self.bad_in_a_row = state["steps"], state["bad"], state["in_a_row"]
