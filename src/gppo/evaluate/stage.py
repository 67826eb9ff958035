"""Evaluation as a recipe asks for it: sets read, sampled, judged, saved."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from gppo.config import EvaluateConfig, EvaluationSet, Recipe, require
from gppo.evaluate.benchmarks import load_benchmark
from gppo.evaluate.runner import Judge, OnPhase, evaluate
from gppo.evaluate.served import Served, sampler_for
from gppo.evaluate.statistics import score
from gppo.policy import ALONE, Checkpoints, Policy, World, load_model
from gppo.records import read_problems
from gppo.rollout import Sampler
from gppo.run import RunFolder, progress
from gppo.run.interrupt import StopRequest, stop_requests
from gppo.types import Evaluation, Problem
from gppo.verify.cases import CaseJudge

logger = logging.getLogger(__name__)


def evaluate_and_save(
    sets: Mapping[str, Sequence[Problem]],
    config: EvaluateConfig,
    run: RunFolder,
    policy: Policy | Served,
    sampler: Sampler,
    judge: Judge,
    seed: int,
    step: int,
    on_phase: OnPhase,
    stop: StopRequest,
    world: World = ALONE,
) -> list[Evaluation]:
    """Score the policy on the sets (from ``read_sets``) and write the results to the run, as ``evaluate`` does."""
    return evaluate(
        policy,
        sampler,
        judge,
        sets,
        config,
        seed=seed,
        step=step,
        on_phase=on_phase,
        folder=run.evaluations,
        stop=stop,
        world=world,
    )


def mean_score(evaluations: Sequence[Evaluation]) -> float:
    """The mean avg@k over evaluations of one checkpoint; NaN where one of them could not be judged at all."""
    return float(np.mean([score(evaluation).avg for evaluation in evaluations]))


def run_eval(
    recipe: Recipe,
    run: RunFolder,
    policy: Policy | Served,
    step: int = 0,
    sets: Mapping[str, Sequence[Problem]] | None = None,
) -> list[Evaluation]:
    """Score ``policy`` as the recipe's evaluate section asks, with progress shown; goes on where it was stopped.

    ``sets`` are those of ``read_sets``, read here where they are not given.

    Raises:
        Interrupted: a signal asked to stop.
    """
    config = require(recipe, "evaluate")
    sets = read_sets(config, run) if sets is None else sets
    total = sum(len(problems) * way.k for name, problems in sets.items() for way in config.ways(name))
    judge_config = recipe.rl.reward if recipe.rl else None
    workers, timeout = (judge_config.judge_workers, judge_config.judge_timeout) if judge_config else (1, 5.0)
    with (
        CaseJudge(workers, timeout, tests_per_problem=None) as judge,
        sampler_for(policy, recipe, run) as sampler,
        progress("Evaluation", total) as bar,
        stop_requests() as stop,
    ):
        judge.prepare(problem for problems in sets.values() for problem in problems)
        began, current = 0, ""

        def on_phase(what: str, done: int, _total: int) -> None:
            nonlocal began, current
            if what != current:
                began, current = bar.done, what
            bar.advance(began + done - bar.done, status=what)

        return evaluate_and_save(sets, config, run, policy, sampler, judge, recipe.seed, step, on_phase, stop)


def load_newest(run: RunFolder, policy: Policy) -> int:
    """Put the weights of the run's newest checkpoint into the policy, RL before SFT; returns the RL step, 0 without."""
    for stage in ("rl", "sft"):
        if newest := Checkpoints(run.checkpoints / stage).newest_good():
            state = load_model(newest, policy)
            logger.warning("scoring the checkpoint %s", newest)
            return int(state["step"]) if stage == "rl" else 0
    return 0


def read_sets(config: EvaluateConfig, run: RunFolder) -> Mapping[str, Sequence[Problem]]:
    """The recipe's sets by name. Bad rows go to ``<run>/quarantine``. A UserError where one cannot be read."""
    return {item.name: _problems(item, run) for item in config.sets}


def _problems(item: EvaluationSet, run: RunFolder) -> list[Problem]:
    if item.benchmark is not None:
        return load_benchmark(item.benchmark, item.data, item.limit)
    assert item.data is not None
    return read_problems(item.data, quarantine=run.path / "quarantine" / f"evaluate-{item.name}.jsonl")[: item.limit]
