"""RL as a recipe asks for it: problems in, trained policy out, evaluations and progress on the way."""

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from gppo.config import Recipe, require
from gppo.evaluate.stage import evaluate_and_save, mean_score, read_sets
from gppo.policy import ALONE, Checkpoints, Policy, World, without_weights
from gppo.records import read_problems
from gppo.rl.loop import Watch, train_rl
from gppo.rl.update import check_objective
from gppo.rollout import LocalSampler, Sampler, SharedSampler
from gppo.rollout.vllm import VLLMSampler
from gppo.run import RunFolder, progress
from gppo.run.interrupt import StopRequest
from gppo.sandbox import Limits
from gppo.verify.cases import CaseJudge

logger = logging.getLogger(__name__)


def run_rl(
    recipe: Recipe, run: RunFolder, policy: Policy, world: World = ALONE, reference: Policy | None = None
) -> None:
    """Train ``policy`` through the recipe's stages; goes on from the run's newest good checkpoint.

    Evaluations (where the recipe has them) are made before, every ``evaluate_every`` steps and after.

    Args:
        recipe: with an rl section.
        run: where everything goes.
        policy: sharded, where there are several ranks.
        world: the ranks.
        reference: of a KL penalty, the same model as ``policy``; copied from it where not given.

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
    if config.kl.beta > 0 and reference is None:
        reference = Policy(copy.deepcopy(policy.model).eval(), policy.tokenizer)
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
        _sampler(recipe, run, policy, steps, world) as sampler,
        progress("RL", steps, done=done, shown=world.leads) as bar,
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
            found = evaluate_and_save(sets, config, run, policy, sampler, examiner, seed, step, on_phase, stop, world)
            return mean_score(found)

        watch = Watch(on_step=on_step, on_phase=on_phase, evaluate=evaluate if recipe.evaluate else None)
        train_rl(
            policy,
            sampler,
            judge,
            problems,
            config,
            run,
            seed=recipe.seed,
            reference=reference,
            watch=watch,
            world=world,
        )


@contextmanager
def _sampler(recipe: Recipe, run: RunFolder, policy: Policy, steps: int, world: World) -> Iterator[Sampler]:
    config = require(recipe, "rl")
    whole = policy if world.size == 1 else without_weights(policy)
    local = LocalSampler(whole, config.sampler_rows, calls=steps * world.size)
    with ExitStack() as stack:
        sampler: Sampler = local
        if config.sampler == "vllm" and world.leads:
            engine = VLLMSampler(whole, require(recipe, "vllm"), config.sampler_rows, run.path / "vllm.log")
            sampler = stack.enter_context(engine)
        if world.size > 1:
            sampler = SharedSampler(sampler, whole, policy, world, solo=config.sampler == "vllm")
        yield sampler
