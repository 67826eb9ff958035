"""RL as a recipe asks for it: problems in, trained policy out, evaluations and progress on the way."""

import copy
import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from gppo.config import Recipe, require
from gppo.evaluate.stage import evaluate_and_save, mean_score, read_sets
from gppo.policy import Checkpoints, Policy
from gppo.records import read_problems
from gppo.rl.loop import Watch, train_rl
from gppo.rl.update import check_objective
from gppo.rollout import LocalSampler, Sampler
from gppo.rollout.vllm import VLLMSampler
from gppo.run import RunFolder, progress
from gppo.run.interrupt import StopRequest
from gppo.sandbox import Limits
from gppo.verify.cases import CaseJudge

logger = logging.getLogger(__name__)


def run_rl(recipe: Recipe, run: RunFolder, policy: Policy) -> None:
    """Train ``policy`` through the recipe's stages; goes on from the run's newest good checkpoint.

    Evaluations (where the recipe has them) are made before, every ``evaluate_every`` steps and after.

    Raises:
        UserError: the objective does not exist, or a set of problems cannot be read or judged.
    """
    config = require(recipe, "rl")
    check_objective(config)
    stages = config.resolved_stages()
    problems = {
        stage.name: read_problems(stage.data, quarantine=run.path / "quarantine" / f"rl-{stage.name}.jsonl")
        for stage in stages
    }
    sets = read_sets(recipe.evaluate, run) if recipe.evaluate else {}
    for stage in stages:
        if stage.on_policy:
            logger.warning(
                "stage '%s': one update per batch, so every importance ratio is 1 and all objectives are the same; "
                "lower mini_batch_prompts or raise epochs to see them differ",
                stage.name,
            )
    # The reference is the model as the recipe gives it, before any checkpoint of this run is put into the policy.
    reference = Policy(copy.deepcopy(policy.model).eval(), policy.tokenizer) if config.kl.beta > 0 else None
    steps = sum(stage.steps for stage in stages)
    reward = config.reward
    limits = Limits(seconds=reward.code_seconds, memory_mb=reward.code_memory_mb)
    newest = Checkpoints(run.checkpoints / "rl").latest()
    done = int(newest.name.removeprefix("step-")) if newest else 0
    with (
        CaseJudge(
            reward.judge_workers,
            reward.judge_timeout,
            tests_per_problem=reward.code_tests,
            seed=recipe.seed,
            limits=limits,
        ) as judge,
        CaseJudge(reward.judge_workers, reward.judge_timeout, tests_per_problem=None, limits=limits) as examiner,
        _sampler(recipe, run, policy, steps) as sampler,
        progress("RL", steps, done=done) as bar,
    ):
        judge.prepare(problem for found in problems.values() for problem in found)
        examiner.prepare(problem for found in sets.values() for problem in found)
        last = ""

        def on_step(step: int, _steps: int, metrics: Mapping[str, Any]) -> None:
            nonlocal last
            last = f"{metrics['stage']}: reward {metrics['reward_mean']:+.2f}, correct {metrics['correct_share']:.0%}"
            bar.advance(step - bar.done, status=last)

        def on_phase(what: str, done: int, total: int) -> None:
            bar.tell(f"{last or stages[0].name} · {what} {f'{done}/{total}' if total else ''}")

        def evaluate(step: int, stop: StopRequest) -> float:
            config, seed = require(recipe, "evaluate"), recipe.seed
            found = evaluate_and_save(sets, config, run, policy, sampler, examiner, seed, step, on_phase, stop)
            return mean_score(found)

        watch = Watch(on_step=on_step, on_phase=on_phase, evaluate=evaluate if recipe.evaluate else None)
        train_rl(policy, sampler, judge, problems, config, run, seed=recipe.seed, reference=reference, watch=watch)


def _sampler(recipe: Recipe, run: RunFolder, policy: Policy, steps: int) -> AbstractContextManager[Sampler]:
    config = require(recipe, "rl")
    if config.sampler == "vllm":
        return VLLMSampler(policy, require(recipe, "vllm"), config.sampler_rows, run.path / "vllm.log")
    return nullcontext(LocalSampler(policy, config.sampler_rows, calls=steps))
