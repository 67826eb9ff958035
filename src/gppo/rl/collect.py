"""A step's experience: problems -> rollouts -> verdicts -> rewards -> groups."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from gppo.config.rl import ResolvedStage, RLConfig
from gppo.policy import ALONE, World, opens_thinking
from gppo.rl.batch import informative
from gppo.rl.rewards import make_group, reward_parts
from gppo.rollout import Request, Sampler
from gppo.run.order import permuted_indices
from gppo.types import Group, Problem, Rollout, SamplingSettings, Verdict

#: (what is being done, how much is done, of how much)
OnPhase = Callable[[str, int, int], None]


class Judge(Protocol):
    """Says what responses are worth."""

    def submit(self, problem: Problem, rollout: Rollout, prompt_opened: bool) -> "Future[Verdict]":
        """Judge one response in the background; must not make the caller wait, who is decoding the others."""
        ...


@dataclass(frozen=True, slots=True)
class Experience:
    """What was sampled and judged for one step.

    Args:
        groups: every group, in the order of sampling.
        parts: for each group its responses' reward parts.
        kept: the groups that the update learns from.
        cursor: position in the stage's problem order afterwards.
        seconds_generate: wall time of sampling, during which finished responses are judged.
        seconds_judge: wall time from the end of sampling until the last verdict.
    """

    groups: list[Group]
    parts: list[list[dict[str, float]]]
    kept: list[Group]
    cursor: int
    seconds_generate: float
    seconds_judge: float

    @property
    def dropped_correct(self) -> list[Group]:
        """Groups left out of the policy gradient whose every answer was correct."""
        kept = {id(group) for group in self.kept}
        return [group for group in self.groups if id(group) not in kept and group.correct_G.all()]


@dataclass(frozen=True, slots=True)
class Collector:
    """Samples, judges and rewards.

    Args:
        sampler: draws responses.
        judge: says what they are worth.
        config: rewards and filters.
        seed: the run's.
        tokenizer: of the policy.
        world: the ranks; each judges the responses that it has drawn, and all of them get all groups.
    """

    sampler: Sampler
    judge: Judge
    config: RLConfig
    seed: int
    tokenizer: object
    world: World = ALONE

    def collect(
        self,
        prompts: Sequence[tuple[Problem, Request]],
        stage: ResolvedStage,
        stage_index: int,
        cursor: int,
        step: int,
        on_phase: OnPhase,
    ) -> Experience:
        """Groups for one step; with ``zero_advantage: resample`` more are drawn until enough have an advantage."""
        config, wanted = self.config, stage.prompts_per_step
        groups: list[Group] = []
        parts: list[list[dict[str, float]]] = []
        kept: list[Group] = []
        asked: Counter[str] = Counter()
        seconds = [0.0, 0.0]
        draws = config.max_generation_batches if config.zero_advantage == "resample" else 1
        for _ in range(draws):
            order = permuted_indices(cursor, wanted, len(prompts), [self.seed, stage_index])
            cursor += wanted
            new, new_parts, spent = self._draw([prompts[i] for i in order], asked, stage, step, on_phase)
            groups += new
            parts += new_parts
            seconds = [a + b for a, b in zip(seconds, spent, strict=True)]
            kept = groups if config.zero_advantage == "keep" else informative(groups)
            if len(kept) >= wanted:
                break
        return Experience(groups, parts, kept[:wanted], cursor, seconds[0], seconds[1])

    def _draw(
        self,
        prompts: Sequence[tuple[Problem, Request]],
        asked: Counter[str],
        stage: ResolvedStage,
        step: int,
        on_phase: OnPhase,
    ) -> tuple[list[Group], list[list[dict[str, float]]], tuple[float, float]]:
        settings = SamplingSettings(temperature=stage.temperature, max_tokens=stage.max_response_tokens)
        requests = []
        for problem, request in prompts:
            # A problem that comes twice in a step gets other random numbers the second time.
            first = asked[problem.id] * stage.group_size
            asked[problem.id] += 1
            requests.append(Request(problem.id, request.prompt_ids, tuple(range(first, first + stage.group_size))))
        problem_of = {problem.id: problem for problem, _ in prompts}
        opened = {r.problem_id: opens_thinking(self.tokenizer, r.prompt_ids) for r in requests}
        verdict_of: dict[tuple[str, int], Future[Verdict]] = {}
        began, total = time.perf_counter(), sum(len(r.samples) for r in requests)

        def judge(rollout: Rollout) -> None:
            name = rollout.problem_id
            verdict_of[name, rollout.sample] = self.judge.submit(problem_of[name], rollout, opened[name])
            on_phase("sampling", len(verdict_of), total)

        try:
            rollouts_PG = self.sampler.generate(requests, settings, seed=self.seed, step=step, on_finished=judge)
            generated = time.perf_counter()

            def verdicts() -> dict[tuple[str, int], Verdict]:
                for count, verdict in enumerate(verdict_of.values(), start=1):
                    verdict.result()
                    on_phase("judging", count, total)
                return {key: verdict.result() for key, verdict in verdict_of.items()}

            found = self.world.merged(verdicts)
        finally:  # where the sampler or the judge failed, nobody waits for the rest
            for verdict in verdict_of.values():
                verdict.cancel()
        groups, parts = [], []
        for (problem, _), row in zip(prompts, rollouts_PG, strict=True):
            verdicts_G = [found[problem.id, rollout.sample] for rollout in row]
            parts_G = self._parts(problem, row, verdicts_G, opened[problem.id], stage)
            groups.append(make_group(problem, row, verdicts_G, parts_G))
            parts.append(parts_G)
        return groups, parts, (generated - began, time.perf_counter() - generated)

    def _parts(
        self,
        problem: Problem,
        rollouts: Sequence[Rollout],
        verdicts: Sequence[Verdict],
        prompt_opened: bool,
        stage: ResolvedStage,
    ) -> list[dict[str, float]]:
        return [
            reward_parts(
                problem,
                rollout,
                verdict,
                self.config.reward,
                self.config.overlong,
                prompt_opened=prompt_opened,
                max_response_tokens=stage.max_response_tokens,
            )
            for rollout, verdict in zip(rollouts, verdicts, strict=True)
        ]
