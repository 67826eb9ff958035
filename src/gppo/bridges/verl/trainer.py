"""verl's synchronous trainer with our groups, advantages, corrections and LM loss.

It differs from verl's own in five places: groups without an advantage leave the batch, advantages divide as the recipe
says, the sampler's mismatch is corrected by our functions, rows of correct responses carry the weights of the LM loss,
and responses that could not be judged are counted, and stop the run above a share.
"""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
from omegaconf import OmegaConf
from tensordict import TensorDict
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.config import omega_conf_to_dataclass

from gppo.bridges.verl.batches import Rows, lm_row_weights, row_advantages, rows_metrics, without_advantage
from gppo.bridges.verl.losses import loss_with_lm
from gppo.bridges.verl.metrics import MetricsFile
from gppo.bridges.verl.rollouts import FIELDS, rollout_rows
from gppo.objectives import correction_weights
from gppo.run.rollouts import write_rollouts
from gppo.types import GppoError


@register_trainer("gppo")
class GppoTrainer(PPOTrainerSync):
    """``trainer.v1.trainer_mode=gppo``; reads ``+gppo.*`` beside verl's own options."""

    def __init__(self, config: Any) -> None:
        # verl takes every other name for an asynchronous trainer, which draws others in place of lost groups.
        config.trainer.v1.trainer_mode = "sync"
        super().__init__(config)

    def on_init_end(self) -> None:
        """Give the workers the loss with the LM term."""
        super().on_init_end()
        actor = omega_conf_to_dataclass(self.config.actor_rollout_ref.actor)
        self.actor_rollout_wg.set_loss_fn(partial(loss_with_lm, config=actor))
        self.settings: dict[str, Any] = OmegaConf.to_container(self.config.gppo, resolve=True)
        self.idle = False

    def on_train_begin(self) -> None:
        """Have the metrics in the run folder too."""
        super().on_train_begin()
        self.logger.logger["gppo"] = MetricsFile(Path(self.settings["metrics"]))

    def _balance_batch(self, batch: Any, metrics: dict[str, Any], **rest: Any) -> Any:
        rows = _read_rows(batch)
        expected = self.config.data.train_batch_size * self.config.actor_rollout_ref.rollout.n
        metrics.update({f"gppo/{key}": value for key, value in rows_metrics(rows, expected).items()})
        self._refuse_noise(len(rows.uids), expected)
        self._keep(batch, rows)
        dead = without_advantage(rows) if self.settings["zero_advantage"] == "drop" else np.zeros(len(batch), bool)
        self.idle = bool(dead.all())
        kept = {uid for uid, out in zip(rows.uids, dead, strict=True) if not out}
        metrics["gppo/groups_kept"] = float(len(kept))
        if dead.any() and not self.idle:
            gone = {key for key, out in zip(batch.keys, dead, strict=True) if out}
            partition, batch = batch.partition_id, batch.select_keys([key for key in batch.keys if key not in gone])
            tq.kv_clear(keys=list(gone), partition_id=partition)
        return super()._balance_batch(batch, metrics, **rest)

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        rows = _read_rows(batch)
        select = ["response_mask", "old_log_probs", "rollout_log_probs"]
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=select)
        masks = list(data["response_mask"].unbind())
        advantages_B = row_advantages(rows, self.settings["advantage_std"])
        flat = [mask.float() * float(a) for mask, a in zip(masks, advantages_B, strict=True)]
        fields: dict[str, Any] = {"advantages": flat, "returns": flat}
        alpha = self.config.actor_rollout_ref.actor.policy_loss.get("lm_alpha", 0.0)
        if alpha:
            weights, shares = self._lm_weights(rows, masks, alpha)
            fields["lm_weights"] = weights
            metrics["gppo/lm_expected"] = float(np.mean(shares))
        correction = self.settings["correction"]
        if correction["kind"] != "none":
            fields["rollout_is_weights"] = _corrections(data, masks, correction)
        nested = {key: torch.nested.as_nested_tensor(value, layout=torch.jagged) for key, value in fields.items()}
        found = TensorDict(nested, batch_size=len(batch))
        return tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=found)

    def _lm_weights(self, rows: Rows, masks: list[torch.Tensor], alpha: float) -> tuple[list[torch.Tensor], np.ndarray]:
        """Each row's weights, and which mini-batches have any. Rows are cut as verl's workers cut them."""
        actor, ranks = self.config.actor_rollout_ref.actor, max(self.actor_rollout_wg._dispatch_info["actor"]) + 1
        mini = actor.ppo_mini_batch_size * self.config.actor_rollout_ref.rollout.n
        tokens_B = np.array([int(mask.sum()) for mask in masks])
        weights_B, has_correct = lm_row_weights(rows.correct & ~self.idle, tokens_B, ranks, mini, alpha)
        return [mask.float() * float(w) for mask, w in zip(masks, weights_B, strict=True)], has_correct

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        if self.idle:  # no response differs from its group: nothing to learn, and no step of the optimizer
            metrics["gppo/updates_skipped"] = 1.0
            return batch
        batch = super()._update_actor(batch, metrics)
        expected = metrics.get("gppo/lm_expected")
        if expected is not None and abs(metrics["actor/lm_mass"] - expected) > 1e-3:
            raise GppoError(
                f"the LM loss is normalised over {metrics['actor/lm_mass']:.4f} instead of {expected:.4f} of the "
                "mini-batches: verl cuts them otherwise than this bridge expects; set rl.lm_loss.alpha to 0"
            )
        return batch

    def _keep(self, batch: Any, rows: Rows) -> None:
        """Write the step's responses into the run folder, where the recipe asks for it."""
        if self.settings["rollouts"] is None:
            return
        data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=FIELDS)
        step = self.settings["first"] + self.global_steps
        advantages_B = row_advantages(rows, self.settings["advantage_std"])
        found = rollout_rows(data, rows, advantages_B, self.tokenizer, step=step, stage=self.settings["stage"])
        write_rollouts(Path(self.settings["rollouts"]), step, found)

    def _refuse_noise(self, judged: int, expected: int) -> None:
        share, limit = 1 - judged / expected, self.settings["reward"]["max_infra_share"]
        if share > limit:
            raise GppoError(
                f"step {self.global_steps}: {share:.0%} of the responses were lost in sampling or judging (more than "
                f"rl.reward.max_infra_share {limit:.0%}); the lines 'Error in _run_prompt' in the log say why"
            )


def _read_rows(batch: Any) -> Rows:
    """What is known of each row of a batch; rows that verl added as padding have a uid of their own."""
    select = ["uid", "rm_scores", "extra_fields"]
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=select)
    extras = [getattr(item, "data", item) for item in data["extra_fields"]]
    found = [extra.get("reward_extra_info", {}) if isinstance(extra, dict) else {} for extra in extras]
    padding = np.array([bool(tag.get("is_padding", False)) for tag in batch.tags])
    return Rows(
        uids=[key.rsplit("_", 2)[0] for key in batch.keys],
        rewards=np.array([float(row.sum()) for row in data["rm_scores"].unbind()]),
        correct=np.array([float(item.get("acc", 0.0)) == 1.0 for item in found]) & ~padding,
        lengths=np.array([int(tag["response_len"]) for tag in batch.tags]),
        judged=found,
    )


def _corrections(data: Any, masks: list[torch.Tensor], settings: dict[str, Any]) -> list[torch.Tensor]:
    old, sampled = data["old_log_probs"].unbind(), data["rollout_log_probs"].unbind()
    kind, bounds = settings["kind"], {key: settings[key] for key in ("cap", "low", "high")}
    return [
        correction_weights(kind, (a - b)[None].float(), mask=mask.bool()[None], **bounds)[0]
        for a, b, mask in zip(old, sampled, masks, strict=True)
    ]
