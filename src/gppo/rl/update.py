"""The update: mini-batches -> log-probabilities -> one coefficient a token -> backward -> optimizer step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gppo.config.rl import ResolvedStage, RLConfig
from gppo.objectives import (
    DEFAULT_NORMALISATION,
    TOKEN_LOCAL,
    Objective,
    TokenFields,
    default_params,
    get_objective,
    kl_value,
    lm_weights,
    token_coefficients,
    token_norms,
    token_weights,
    update_diagnostics,
)
from gppo.policy import ALONE, Optimizer, Policy, World, idle, within_memory
from gppo.rl.batch import mini_batches
from gppo.rl.before import TRUSTED_MISMATCH, Fixed, look_before, mismatch_of, parts_of, recomputed
from gppo.rl.seen import Seen, cut_fields, with_ratio
from gppo.types import Batch, UserError


@dataclass(frozen=True, slots=True)
class Update:
    """What one step did.

    Args:
        metrics: for the step's line in metrics.jsonl.
        logprobs_BT: float32, nats, as the last update saw each token.
        old_BT: float32, nats, what ratios were against.
        entropy_BT: float32, nats.
        coefficients_BT: float32, of the last update.
        learned_B: bool, rows that an update learned from; the fields of the others are 0.
    """

    metrics: dict[str, float]
    logprobs_BT: np.ndarray
    old_BT: np.ndarray
    entropy_BT: np.ndarray
    coefficients_BT: np.ndarray
    learned_B: np.ndarray


def check_objective(config: RLConfig) -> Objective:
    """The recipe's objective; to be called before anything is loaded or sampled.

    Raises:
        UserError: it or one of its parameters does not exist, or the settings contradict each other.
    """
    if config.correction.kind != "none" and config.old_logprobs == "sampled":
        raise UserError(
            f"rl.correction {config.correction.kind} corrects from the sampler's to the trainer's old logprobs, and "
            "rl.old_logprobs 'sampled' puts the first in place of the second; set rl.old_logprobs to auto or recompute"
        )
    return get_objective(config.objective.name, config.objective.params)


class Updater:
    """Learns from batches.

    Args:
        policy: what is trained.
        optimizer: takes the steps.
        config: objective, corrections, LM loss, KL.
        reference: the frozen model of the KL penalty, where there is one.
        world: the ranks, of which each is given whole batches and computes its share of every mini-batch.

    Raises:
        UserError: see ``check_objective``.
    """

    def __init__(
        self,
        policy: Policy,
        optimizer: Optimizer,
        config: RLConfig,
        reference: Policy | None = None,
        world: World = ALONE,
    ) -> None:
        self.policy = policy
        self.optimizer = optimizer
        self.config = config
        self.reference = reference
        self.world = world
        self.objective = check_objective(config)
        name = config.objective.name
        self.normalisation = config.objective.normalisation or DEFAULT_NORMALISATION[name]
        params = default_params(name) | config.objective.params if name in TOKEN_LOCAL else {}
        # Objectives without a clip range for single tokens are measured against the paper's.
        self.epsilons = {"epsilon_low": 0.2, "epsilon_high": 0.28} | {
            key: value for key, value in params.items() if key.startswith("epsilon")
        }

    def update(self, batch: Batch, stage: ResolvedStage, *, seed: int, step: int, at: int) -> Update:
        """Take the optimizer steps of one training step.

        Args:
            batch: the step's rows.
            stage: mini-batch size, epochs, temperature.
            seed: of the order of mini-batches.
            step: the training step that keys this order.
            at: where the learning-rate schedule stands.
        """
        self.policy.model.train()
        seen, outputs = Seen(), {key: torch.zeros(batch.mask_BT.shape) for key in ("logprobs", "entropy", "c")}
        learned_B = np.zeros(len(batch), dtype=bool)
        fixed, mismatch = look_before(self.policy, self.reference, batch, self.config, stage.temperature, self.world)
        bad_before = self.optimizer.bad
        for epoch in range(stage.epochs):
            for rows in mini_batches(batch, stage.mini_batch_prompts, seed=seed, step=step, epoch=epoch):

                def add_gradient(rows: np.ndarray = rows) -> tuple[np.ndarray, Seen]:
                    return self._mini_batch(batch, rows, fixed, stage.temperature, outputs)  # noqa: B023

                live, shown = self._within_memory(add_gradient)
                if not len(live):
                    if self._counts(batch, rows):  # a step all the same: momentum and weight decay go on
                        self._zero_gradient()
                        seen.grad_norms.append(self.optimizer.step(at=at))
                    continue
                if mismatch is None:  # the weights are still those that the sampler had
                    mismatch = mismatch_of(batch, outputs["logprobs"], live)
                    if self.config.old_logprobs == "auto" and not _trusted(mismatch):
                        self.policy.model.zero_grad(set_to_none=True)
                        fixed, mismatch = recomputed(
                            self.policy, batch, fixed, self.config, stage.temperature, self.world
                        )
                        live, shown = self._within_memory(add_gradient)
                learned_B[live] = True
                seen.add(shown)
                seen.grad_norms.append(self.optimizer.step(at=at))
        self.optimizer.refuse_infinite_weights()  # a model that says nothing but NaN has no advantage to learn from
        seen = Seen.of_all(self.world.gather(seen))
        log_ratio_N = seen.flat("log_ratio")
        metrics = update_diagnostics(
            log_ratio_N,
            seen.flat("advantages"),
            seen.flat("weights"),
            torch.ones_like(log_ratio_N, dtype=torch.bool),
            entropy_BT=seen.flat("entropy"),
            **self.epsilons,
        )
        if len(kl_ref_N := seen.flat("kl_ref")):
            metrics["kl_ref"] = float(kl_ref_N.double().mean())
        finite = [norm for norm in seen.grad_norms if np.isfinite(norm)]
        metrics |= {
            "grad_norm": float(np.mean(finite)) if finite else float("nan"),
            "updates": len(seen.grad_norms),
            "bad_updates": self.optimizer.bad - bad_before,
            "learning_rate": self.optimizer.learning_rate(at),
            "lm_tokens": int(batch.lengths_B[batch.correct_B].sum()) if self.config.lm_loss.alpha else 0,
            **(mismatch or {"mismatch_mean": float("nan"), "mismatch_max": float("nan")}),
        }
        logprobs_BT, entropy_BT, c_BT = (outputs[key].numpy() for key in ("logprobs", "entropy", "c"))
        return Update(metrics, logprobs_BT, fixed.old_BT.numpy(), entropy_BT, c_BT, learned_B)

    def _within_memory(self, add_gradient: Callable[[], tuple[np.ndarray, Seen]]) -> tuple[np.ndarray, Seen]:
        return within_memory(self.policy.model, add_gradient, alone=self.world.size == 1)

    def _counts(self, batch: Batch, rows: np.ndarray) -> bool:
        """Whether any row has a part in the policy gradient, be it with an advantage of 0, or in the LM loss."""
        return bool(batch.policy_row_B[rows].any() or (self.config.lm_loss.alpha and batch.correct_B[rows].any()))

    def _zero_gradient(self) -> None:
        for parameter in self.optimizer.parameters:
            parameter.grad = torch.zeros_like(parameter)

    def _mini_batch(
        self,
        batch: Batch,
        rows: np.ndarray,
        fixed: Fixed,
        temperature: float,
        outputs: dict[str, Tensor],
    ) -> tuple[np.ndarray, Seen]:
        """Add up the gradient of one mini-batch: normalised by its own tokens, however it is cut.

        Returns:
            those of the rows that have a part in it, and what this rank's showed.
        """
        seen = Seen()
        mini, device = batch.rows(rows), self.policy.device
        mask_bt = torch.from_numpy(mini.mask_BT)
        learns_bt = mask_bt & torch.from_numpy(mini.policy_row_B)[:, None]
        norm_bt = token_norms(learns_bt, self.normalisation, constant_length=self.config.objective.constant_length)
        lm_bt = lm_weights(mask_bt, torch.from_numpy(mini.correct_B), self.config.lm_loss.alpha)
        # A row whose every coefficient is 0 needs no forward pass.
        pulls_b1 = torch.from_numpy((mini.advantages_B != 0) | bool(self.config.kl.beta))[:, None]
        live = np.flatnonzero((((norm_bt != 0) & pulls_b1) | (lm_bt != 0)).any(dim=1).numpy())
        mine = {key: torch.zeros(mini.mask_BT.shape) for key in outputs}
        for part in parts_of(self.policy, mini, live, self.config.micro_batch_tokens, self.world):
            if not len(part):
                idle(self.policy)
                continue
            small, index = mini.rows(part), torch.from_numpy(rows[part])
            width, advantages = small.mask_BT.shape[1], torch.from_numpy(small.advantages_B).float()

            def fixed_part(full_BT: Tensor | None, index: Tensor = index, width: int = width) -> Tensor | None:
                return None if full_BT is None else full_BT[index, :width].to(device)

            fields = TokenFields(
                log_ratio=torch.zeros(small.mask_BT.shape, device=device),
                advantages=advantages[:, None].expand(small.mask_BT.shape).to(device),
                mask=torch.from_numpy(small.mask_BT).to(device),
                norm=norm_bt[part, :width].to(device),
                old_logprobs=fixed_part(fixed.old_BT),
                lm_weight=lm_bt[part, :width].to(device),
                correction=fixed_part(fixed.correction_BT),
                ref_logprobs=fixed_part(fixed.ref_BT),
            )
            logprobs_bt, entropy_bt, c_bt = self._backward(small, fields, temperature)
            for key, value in (("logprobs", logprobs_bt), ("entropy", entropy_bt), ("c", c_bt)):
                mine[key][torch.from_numpy(part), :width] = value.float().cpu()
            self._look(fields, logprobs_bt, entropy_bt, seen)
        for key, found_bt in mine.items():
            outputs[key][rows[live], : mini.mask_BT.shape[1]] = self.world.sum(found_bt)[live]
        return rows[live], seen

    def _backward(self, batch: Batch, fields: TokenFields, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
        """Add one micro-batch's gradient; logprobs, entropy and coefficients [b, t], detached."""
        if self.config.objective.name not in TOKEN_LOCAL:
            logprobs_bt, entropy_bt = self.policy.logprobs(batch, temperature)
            c_bt = self._coefficients(fields, logprobs_bt.detach())
            torch.autograd.backward(logprobs_bt, -c_bt)
            return logprobs_bt.detach(), entropy_bt, c_bt
        mask_bt = fields.mask
        flat = cut_fields(fields, lambda x: x[mask_bt])

        def coefficients(logprobs_n: Tensor, part: slice) -> Tensor:
            return self._coefficients(cut_fields(flat, lambda x: x[part]), logprobs_n)

        responses = [row[mask] for row, mask in zip(batch.response_ids_BT, batch.mask_BT, strict=True)]
        found = self.policy.backward_N(self.policy.tokens(batch.prompt_ids, responses), coefficients, temperature)
        padded = torch.zeros(mask_bt.shape, device=mask_bt.device)
        a, b, c = (padded.masked_scatter(mask_bt, values_N.float()) for values_N in found)
        return a, b, c

    def _coefficients(self, fields: TokenFields, logprobs: Tensor) -> Tensor:
        objective, kl = self.config.objective, self.config.kl
        return token_coefficients(
            with_ratio(fields, logprobs),
            self.objective,
            dual_clip=objective.dual_clip,
            dual_clip_keep=objective.dual_clip_keep,
            kl_beta=kl.beta,
            kl_estimator=kl.estimator,
        )

    def _look(self, fields: TokenFields, logprobs_bt: Tensor, entropy_bt: Tensor, seen: Seen) -> None:
        """Keep what the diagnostics need: the tokens that have a part in the policy gradient."""
        objective = self.config.objective
        fields = with_ratio(fields, logprobs_bt)
        w_bt = token_weights(
            fields, self.objective, dual_clip=objective.dual_clip, dual_clip_keep=objective.dual_clip_keep
        )
        learned_bt = fields.mask & (fields.norm > 0)
        seen.log_ratio.append(fields.log_ratio[learned_bt].cpu())
        seen.advantages.append(fields.advantages[learned_bt].cpu())
        seen.weights.append(w_bt[learned_bt].cpu())
        seen.entropy.append(entropy_bt[learned_bt].cpu())
        if fields.ref_logprobs is not None:
            seen.kl_ref.append(kl_value(logprobs_bt, fields.ref_logprobs)[learned_bt].cpu())


def _trusted(mismatch: dict[str, float]) -> bool:
    """Whether the sampler's logprobs serve as the old ones; not where the mismatch is not a number."""
    return mismatch["mismatch_mean"] <= TRUSTED_MISMATCH
