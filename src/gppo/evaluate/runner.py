"""Sample every set in every way listed, judge, and keep the counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gppo.config.evaluation import EvaluateConfig
from gppo.evaluate.kept import Kept, evaluation_key
from gppo.evaluate.results import evaluation_of, result_of, without_text
from gppo.evaluate.served import Served
from gppo.policy import ALONE, Policy, World, opens_thinking, weights_fingerprint
from gppo.rollout import Request, Sampler, requests_for
from gppo.run.interrupt import Interrupted, StopRequest
from gppo.types import Evaluation, Problem, Rollout, SamplingSettings, UserError, Verdict
from gppo.verify.thinking import format_kept

#: Judges (problem, rollout, whether the prompt opened the thinking) in order.
Judge = Callable[[Sequence[tuple[Problem, Rollout, bool]]], list[Verdict]]
#: (what is being done, how much is done, of how much)
OnPhase = Callable[[str, int, int], None]


def evaluate(
    policy: Policy | Served,
    sampler: Sampler,
    judge: Judge,
    sets: Mapping[str, Sequence[Problem]],
    config: EvaluateConfig,
    *,
    seed: int,
    step: int,
    on_phase: OnPhase = lambda what, done, total: None,
    folder: Path | None = None,
    stop: StopRequest | None = None,
    world: World = ALONE,
) -> list[Evaluation]:
    """Score the policy on every set, in every way of sampling.

    Random numbers depend on the seed, the problem and the sample, not on the step nor the way of sampling: two
    checkpoints, and two temperatures, meet the same draws, so their paired difference has less noise.

    Args:
        policy: its tokenizer makes the prompts; without one the server that is sampled does.
        sampler: draws responses from its weights.
        judge: says which are right.
        sets: problems by name.
        config: ways of sampling, limits.
        seed: the run's.
        step: noted in the results.
        on_phase: progress.
        folder: where results are saved, each as soon as it is there. What an earlier call for the same weights and
            settings left there, whole or in part, is not made again.
        stop: whether to stop; looked at after each response.
        world: the ranks that share the work, all of which call this; rank 0 has the files. The sampler is then a
            ``SharedSampler``.

    Raises:
        Interrupted: ``stop`` was set; batches that were judged are kept in ``folder``.
        UserError: a prompt does not fit the model's context.
    """
    weights = ""
    if folder:
        weights = policy.fingerprint if isinstance(policy, Served) else weights_fingerprint(policy)
    results = []
    for name, problems in sets.items():
        for sampling in config.ways(name):
            named = len(sets) > 1 or config.benchmark(name) is not None
            label = f"{name} {sampling.label}" if named else sampling.label
            requests, too_long = requests_for(policy.tokenizer, problems, sampling.k, policy.max_context - 1)
            if too_long:
                raise UserError(
                    f"evaluation '{label}': the prompt of problem {too_long[0].id} does not fit the model's context of "
                    f"{policy.max_context} tokens; raise model.max_context or take the problem out of the set"
                )
            settings = SamplingSettings(
                sampling.temperature,
                sampling.top_p,
                sampling.top_k,
                config.max_response_tokens,
                sampling.repetition_penalty,
            )
            key = evaluation_key(weights, problems, requests, settings, config, seed)
            kept = Kept(folder, label, step, key) if folder else None
            task = _Task(
                policy, sampler, judge, problems, requests, config, settings, label, seed, step, on_phase, stop, world
            )
            results.append(task.run(kept))
    return results


@dataclass(frozen=True, slots=True)
class _Task:
    """One set in one way of sampling; the fields are those of ``evaluate``."""

    policy: Policy | Served
    sampler: Sampler
    judge: Judge
    problems: Sequence[Problem]
    requests: Sequence[Request]
    config: EvaluateConfig
    settings: SamplingSettings
    label: str
    seed: int
    step: int
    on_phase: OnPhase
    stop: StopRequest | None
    world: World

    def run(self, kept: Kept | None) -> Evaluation:
        """Sample and judge batch by batch; with ``kept``, only the batches that are not there yet."""
        k = len(self.requests[0].samples) if self.requests else 0
        total = len(self.requests) * k
        if kept and (found := self.world.lead(kept.finished)):
            self.on_phase(self._phase, total, total)
            return found
        size = max(1, self.config.batch_responses // max(1, k))
        results = self.world.lead(partial(kept.results, size * k, total)) if kept else []
        if results:
            self.on_phase(self._phase, len(results), total)
        for begin in range(len(results) // max(1, k), len(self.requests), size):
            batch = self._batch(slice(begin, begin + size), begin * k, total)
            if kept and self.world.leads:
                kept.add(batch)
            results += map(without_text, batch)
        evaluation = evaluation_of(self.label, self.step, self.settings, self.problems, results)
        if kept and self.world.leads:
            kept.finish(evaluation)
        return evaluation

    @property
    def _phase(self) -> str:
        return f"evaluating {self.label}"

    def _batch(self, part: slice, done: int, total: int) -> list[dict[str, Any]]:
        """Judged samples of some of the problems, in order, as ``result_of`` writes them down."""
        problems, requests = self.problems[part], self.requests[part]
        finished = done

        def count(_: Rollout) -> None:
            nonlocal finished
            finished += 1
            self.on_phase(self._phase, finished, total)
            if self.stop:
                raise Interrupted(
                    f"stopped while evaluating '{self.label}' at step {self.step}, {done} of {total} responses are "
                    "judged and kept; run the same command again to go on",
                    self.stop.signum or 2,
                )

        # Step -1 is nobody's training step: evaluation never shares random numbers with it.
        rollouts_PK = self.sampler.generate(requests, self.settings, seed=self.seed, step=-1, on_finished=count)
        opened_P = [
            not request.messages and opens_thinking(self.policy.tokenizer, request.prompt_ids) for request in requests
        ]
        cases = [
            (problem, rollout, opened)
            for problem, row, opened in zip(problems, rollouts_PK, opened_P, strict=True)
            for rollout in row
        ]
        thinking = self.config.require_thinking
        return [
            result_of(problem, rollout, verdict, format_ok=not thinking or format_kept(rollout.text, opened))
            for (problem, rollout, opened), verdict in zip(cases, self.world.shared(self.judge, cases), strict=True)
        ]
