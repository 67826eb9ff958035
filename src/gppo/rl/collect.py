"""A step's experience: problems -> rollouts -> verdicts -> rewards -> groups."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gppo.config.rl import ResolvedStage, RLConfig
from gppo.policy import opens_thinking
from gppo.rl.batch import informative
from gppo.rl.rewards import make_group, reward_parts
from gppo.rollout import Request, Sampler
from gppo.run.order import permuted_indices
from gppo.types import Group, Problem, Rollout, SamplingSettings, Verdict

#: Judges (problem, rollout, whether the prompt opened the thinking) in order.
Judge = Callable[[Sequence[tuple[Problem, Rollout, bool]]], list[Verdict]]
#: (what is being done, how much is done, of how much)
OnPhase = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Experience:
    """What was sampled and judged for one step.

    Args:
        groups: every group, in the order of sampling.
        parts: for each group its responses' reward parts.
        kept: the groups that the update learns from.
        cursor: position in the stage's problem order afterwards.
        seconds_generate: wall time of sampling.
        seconds_judge: wall time of judging.
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
    """

    sampler: Sampler
    judge: Judge
    config: RLConfig
    seed: int
    tokenizer: object

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
        began, finished, total = time.perf_counter(), 0, len(prompts) * stage.group_size

        def count(_: Rollout) -> None:
            nonlocal finished
            finished += 1
            on_phase("sampling", finished, total)

        rollouts_PG = self.sampler.generate(requests, settings, seed=self.seed, step=step, on_finished=count)
        generated = time.perf_counter()
        on_phase("judging", 0, total)
        opened_P = [opens_thinking(self.tokenizer, request.prompt_ids) for request in requests]
        cases = [
            (problem, rollout, opened)
            for (problem, _), row, opened in zip(prompts, rollouts_PG, opened_P, strict=True)
            for rollout in row
        ]
        verdicts = iter(self.judge(cases))
        groups, parts = [], []
        for (problem, _), row, opened in zip(prompts, rollouts_PG, opened_P, strict=True):
            verdicts_G = [next(verdicts) for _ in row]
            parts_G = [
                reward_parts(
                    problem,
                    rollout,
                    verdict,
                    self.config.reward,
                    self.config.overlong,
                    prompt_opened=opened,
                    max_response_tokens=stage.max_response_tokens,
                )
                for rollout, verdict in zip(row, verdicts_G, strict=True)
            ]
            groups.append(make_group(problem, row, verdicts_G, parts_G))
            parts.append(parts_G)
        return groups, parts, (generated - began, time.perf_counter() - generated)
