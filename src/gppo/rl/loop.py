"""The loop of reinforcement learning.

problems -> rollouts -> verdicts -> rewards -> advantages -> coefficients -> update -> checkpoint
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gppo.config.rl import ResolvedStage, RLConfig
from gppo.policy import ALONE, Checkpoints, Optimizer, Policy, World, opens_thinking, seed_step
from gppo.rl.batch import make_batch
from gppo.rl.collect import Collector, Experience, Judge, OnPhase
from gppo.rl.record import rollout_rows, step_metrics
from gppo.rl.session import Session, problems_fingerprint
from gppo.rl.update import Updater
from gppo.rollout import Request, Sampler, requests_for
from gppo.run import RunFolder
from gppo.run.interrupt import StopRequest, stop_requests
from gppo.run.rollouts import write_rollouts
from gppo.types import Problem, UserError


def _silent(*_: Any) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told about the progress of a run.

    Args:
        on_step: (step, steps, its metrics) after each step.
        on_phase: (what is being done, how much is done, of how much) within a step.
        evaluate: (step, whether to stop) -> the checkpoint's score; before the first step, every ``evaluate_every``
            steps and after the last. Called again for a step whose evaluation was cut short.
    """

    on_step: Callable[[int, int, Mapping[str, Any]], None] = _silent
    on_phase: OnPhase = _silent
    evaluate: Callable[[int, StopRequest], float | None] | None = None


def train_rl(
    policy: Policy,
    sampler: Sampler,
    judge: Judge,
    problems: Mapping[str, Sequence[Problem]],
    config: RLConfig,
    run: RunFolder,
    *,
    seed: int,
    reference: Policy | None = None,
    watch: Watch | None = None,
    world: World = ALONE,
) -> None:
    """Train the policy through all stages; continues from the run's newest good checkpoint.

    Args:
        policy: what is trained.
        sampler: draws responses from the policy's current weights.
        judge: judges each response in the background, from the moment it ends.
        problems: for each stage's name its problems.
        config: the recipe's rl section.
        run: where metrics, rollouts and checkpoints go.
        seed: of data order and sampling.
        reference: the frozen starting model, where ``config.kl.beta`` is not 0.
        watch: progress and evaluations.
        world: the ranks that share the work; the sampler is then a ``SharedSampler``.

    Raises:
        Interrupted: a signal asked to stop; a checkpoint was written. While responses are drawn this is at once.
        GppoError: sampler or judge died, a checkpoint could not be written, too many responses could not be judged, or
            gradients were not finite several times in a row.
        UserError: every prompt of a stage is too long, or prompts and responses do not fit the model's context; found
            before anything is sampled.
    """
    watch = watch or Watch()
    stages = config.resolved_stages()
    stage_of = [index for index, stage in enumerate(stages) for _ in range(stage.steps)]
    steps = len(stage_of)
    prompts = [_prompts(policy, problems[stage.name], stage, run) for stage in stages]
    optimizer = Optimizer(policy.model, config.optimizer, steps)
    updater = Updater(policy, optimizer, config, reference, world)
    collector = Collector(sampler, judge, config, seed, policy.tokenizer, world)
    folder = run.checkpoints / "rl"
    with Checkpoints(folder, config.keep_checkpoints, config.keep_best, world) as checkpoints, stop_requests() as heard:
        session = Session(policy, optimizer, config, run, checkpoints, heard, {}, steps, world=world)
        state = session.state
        session.resume(seed, {s.name: problems_fingerprint(found) for s, found in zip(stages, prompts, strict=True)})
        session.evaluate_where_due(watch.evaluate)  # a run that was killed in its evaluation goes on there

        def on_phase(what: str, done: int, total: int) -> None:
            session.look_up(what)
            watch.on_phase(what, done, total)

        for step in range(state["step"], steps):
            index = stage_of[step]
            stage = stages[index]
            if state["stage"] != index:
                state |= {"stage": index, "cursor": 0}
                optimizer.begin_stage(step)
            optimizer.peak = stage.learning_rate
            seed_step(seed, step)
            draw = partial(collector.collect, prompts[index], stage, index, state["cursor"], step, on_phase)
            experience = session.draw(draw)
            if experience is None:
                break
            opened = opens_thinking(policy.tokenizer, prompts[index][0][1].prompt_ids)
            metrics = _learn(experience, opened, updater, stage, step, session, seed, watch)
            state |= {"step": step + 1, "cursor": experience.cursor}
            watch.on_step(step + 1, steps, metrics)
            session.agree()
            session.save_where_due()
            session.evaluate_where_due(watch.evaluate)
            if session.stop:
                break
        session.end()
    policy.model.eval()


def _prompts(
    policy: Policy, problems: Sequence[Problem], stage: ResolvedStage, run: RunFolder
) -> list[tuple[Problem, Request]]:
    """The stage's problems with their prompt tokens; prompts that are too long are left out and counted."""
    longest = stage.max_prompt_tokens + stage.max_response_tokens
    if longest > policy.max_context:
        raise UserError(
            f"stage '{stage.name}': max_prompt_tokens + max_response_tokens is {longest}, more than the model's "
            f"context of {policy.max_context} tokens; lower one of them"
        )
    requests, too_long = requests_for(policy.tokenizer, problems, stage.group_size, stage.max_prompt_tokens)
    if not requests:
        raise UserError(
            f"stage '{stage.name}': all {len(problems)} prompts of {stage.data} are longer than max_prompt_tokens "
            f"{stage.max_prompt_tokens}; raise it, or shorten the prompts"
        )
    if too_long:
        note = {"stage": stage.name, "prompts_too_long": len(too_long), "first": too_long[0].id}
        # A run that goes on has noted it before.
        if not any(note.items() <= line.items() for line in run.read_metrics("info")):
            run.log("info", **note)
    left_out = {problem.id for problem in too_long}
    fitting = [problem for problem in problems if problem.id not in left_out]
    return list(zip(fitting, requests, strict=True))


def _learn(
    experience: Experience,
    opened: bool,
    updater: Updater,
    stage: ResolvedStage,
    step: int,
    session: Session,
    seed: int,
    watch: Watch,
) -> dict[str, Any]:
    """Learn from a step's experience and record it. Returns the step's metrics."""
    began, config = time.perf_counter(), updater.config
    metrics: dict[str, Any] = {"step": step + 1, "stage": stage.name, **step_metrics(experience, opened)}
    metrics["responses_lost"] = session.state["responses_lost"]
    batch, update = make_batch(experience.kept, experience.dropped_correct, config), None
    watch.on_phase("updating", 0, 0)
    if batch is not None:
        update = session.update(partial(updater.update, batch, stage, seed=seed, step=step, at=step))
        metrics |= update.metrics
    spent = time.perf_counter() - began
    sampled = experience.seconds_generate + experience.seconds_judge
    metrics |= {"seconds_update": spent, "seconds": sampled + spent}
    session.run.log("rl", **metrics)
    if config.save_rollouts and updater.world.leads:
        rows = rollout_rows(experience, batch, update, step=step + 1, stage=stage.name)
        write_rollouts(session.run.rollouts, step + 1, rows)
    return metrics
