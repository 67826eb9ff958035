"""Sample every set in every way listed, judge, and keep the counts."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gppo.config.evaluation import EvaluateConfig, SamplingConfig
from gppo.policy import Policy, opens_thinking
from gppo.rollout import Sampler, requests_for
from gppo.types import Evaluation, Problem, Rollout, SamplingSettings, UserError, Verdict
from gppo.verify.thinking import format_kept

#: Judges (problem, rollout, whether the prompt opened the thinking) in order.
Judge = Callable[[Sequence[tuple[Problem, Rollout, bool]]], list[Verdict]]
#: (what is being done, how much is done, of how much)
OnPhase = Callable[[str, int, int], None]


def evaluate(
    policy: Policy,
    sampler: Sampler,
    judge: Judge,
    sets: Mapping[str, Sequence[Problem]],
    config: EvaluateConfig,
    *,
    seed: int,
    step: int,
    on_phase: OnPhase = lambda what, done, total: None,
) -> list[Evaluation]:
    """Score the policy on every set, in every way of sampling.

    Random numbers depend on the seed, the problem and the sample, not on the step nor the way of sampling: two
    checkpoints, and two temperatures, meet the same draws, so their paired difference has less noise.

    Args:
        policy: its tokenizer makes the prompts.
        sampler: draws responses from its weights.
        judge: says which are right.
        sets: problems by name.
        config: ways of sampling, limits.
        seed: the run's.
        step: noted in the results.
        on_phase: progress.
    """
    results = []
    for name, problems in sets.items():
        for sampling in config.sampling:
            label = f"{name} {sampling.label}" if len(sets) > 1 else sampling.label
            results.append(
                _one(policy, sampler, judge, problems, config, sampling, label, seed=seed, step=step, on_phase=on_phase)
            )
    return results


def _one(
    policy: Policy,
    sampler: Sampler,
    judge: Judge,
    problems: Sequence[Problem],
    config: EvaluateConfig,
    sampling: SamplingConfig,
    label: str,
    *,
    seed: int,
    step: int,
    on_phase: OnPhase,
) -> Evaluation:
    requests, too_long = requests_for(policy.tokenizer, problems, sampling.k, policy.max_context - 1)
    if too_long:
        raise UserError(
            f"evaluation '{label}': the prompt of problem {too_long[0].id} does not fit the model's context of "
            f"{policy.max_context} tokens; raise model.max_context or take the problem out of the set"
        )
    settings = SamplingSettings(sampling.temperature, sampling.top_p, sampling.top_k, config.max_response_tokens)
    finished, total = 0, len(requests) * sampling.k

    def count(_: Rollout) -> None:
        nonlocal finished
        finished += 1
        on_phase(f"evaluating {label}", finished, total)

    # Step -1 is nobody's training step: evaluation never shares random numbers with it.
    rollouts_PK = sampler.generate(requests, settings, seed=seed, step=-1, on_finished=count)
    opened_P = [opens_thinking(policy.tokenizer, request.prompt_ids) for request in requests]
    cases = [
        (problem, rollout, opened)
        for problem, row, opened in zip(problems, rollouts_PK, opened_P, strict=True)
        for rollout in row
    ]
    verdicts = judge(cases)
    correct = [
        verdict.correct and not rollout.truncated and (not config.require_thinking or format_kept(rollout.text, opened))
        for (_, rollout, opened), verdict in zip(cases, verdicts, strict=True)
    ]
    shape = (len(problems), sampling.k)
    return Evaluation(
        name=label,
        step=step,
        sampling=settings,
        problem_ids=tuple(problem.id for problem in problems),
        difficulty=tuple(problem.difficulty for problem in problems),
        correct_PK=np.array(correct, dtype=bool).reshape(shape),
        valid_PK=np.array([verdict.status != "infra" for verdict in verdicts], dtype=bool).reshape(shape),
        lengths_PK=np.array([len(rollout.response_ids) for _, rollout, _ in cases]).reshape(shape),
        truncated_PK=np.array([rollout.truncated for _, rollout, _ in cases], dtype=bool).reshape(shape),
    )
