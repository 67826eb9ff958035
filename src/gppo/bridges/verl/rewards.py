"""Rewards inside verl by our judges: answers in killable workers, programs in the sandbox. verl's graders are not used.

``GppoRewardManager`` gives what our own engine gives: format penalty, truncation and overlong penalty included. For a
run of verl without our trainer, ``reward.custom_reward_function.path=pkg://gppo.verify.rewards`` judges math.

A response whose judge failed has no reward that verl could express. It raises instead; verl then leaves this response
out of its group and our trainer counts it.
"""

import asyncio
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from gppo.config import OverlongConfig, RewardConfig
from gppo.policy import opens_thinking
from gppo.rl.rewards import make_group, reward_parts
from gppo.sandbox import Limits
from gppo.types import GppoError, Problem, Rollout
from gppo.verify.cases import CaseJudge


class GppoRewardManager(RewardManagerBase):
    """One response in, its reward out; in each of verl's reward workers one judge with its processes."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        settings = OmegaConf.to_container(config.gppo, resolve=True)
        self.reward = RewardConfig.model_validate(settings["reward"])
        self.overlong = OverlongConfig.model_validate(settings["overlong"])
        self.limit = int(config.data.max_response_length)
        self.judge = CaseJudge(
            self.reward.judge_workers,
            self.reward.judge_timeout,
            tests_per_problem=self.reward.code_tests,
            seed=int(settings["seed"]),
            limits=Limits(seconds=self.reward.code_seconds, memory_mb=self.reward.code_memory_mb),
        )

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Judge the last row of ``data``.

        Raises:
            GppoError: the judge itself failed.
        """
        item = data[-1:][0]
        problem = _problem(item.non_tensor_batch)
        rollout = self._rollout(item, problem.id)
        opened = opens_thinking(self.tokenizer, rollout.prompt_ids)
        verdict = await asyncio.wrap_future(self.judge.submit(problem, rollout, opened))
        if verdict.status == "infra":
            raise GppoError(f"problem {problem.id}: the judge failed ({verdict.rule})")
        parts = reward_parts(
            problem,
            rollout,
            verdict,
            self.reward,
            self.overlong,
            prompt_opened=opened,
            max_response_tokens=self.limit,
        )
        group = make_group(problem, [rollout], [verdict], [parts])
        extra = {
            "acc": float(group.correct_G[0]),
            "verdict": verdict.status,
            "pred": verdict.extracted or "",
            "rule": verdict.rule,
            "truncated": float(rollout.truncated),
            **parts,
        }
        return {"reward_score": float(group.rewards_G[0]), "reward_extra_info": extra}

    def _rollout(self, item: Any, problem_id: str) -> Rollout:
        width = item.batch["prompts"].shape[-1]
        mask = item.batch["attention_mask"].bool().numpy()
        prompt_ids = item.batch["prompts"].numpy()[mask[:width]].astype(np.int64)
        response_ids = item.batch["responses"].numpy()[mask[width:]].astype(np.int64)
        ended = len(response_ids) > 0 and int(response_ids[-1]) == self.tokenizer.eos_token_id
        cut = len(response_ids) >= self.limit and not ended
        return Rollout(
            problem_id=problem_id,
            sample=0,
            prompt_ids=prompt_ids,
            response_ids=response_ids,
            sampled_logprobs=np.zeros(len(response_ids), dtype=np.float32),
            text=self.tokenizer.decode(response_ids, skip_special_tokens=True),
            finish_reason="length" if cut else "stop",
        )


def _problem(columns: dict[str, Any]) -> Problem:
    extra = columns.get("extra_info") or {}
    return Problem(
        id=str(extra.get("id", extra.get("index", ""))),
        prompt=(),
        ability=str(columns["ability"]),
        ground_truth=str(columns["reward_model"]["ground_truth"]),
        data_source=str(columns.get("data_source", "")),
    )
