"""Sampling by several ranks: each draws its share of the responses, and all of them get all."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from gppo.policy import Policy, World, filled
from gppo.rollout.sampler import Request, Sampler
from gppo.types import Rollout, SamplingSettings


class SharedSampler:
    """A ``Sampler`` for several ranks, all of which call it with the same arguments.

    A response depends on its own random numbers, not on who draws it. ``on_finished`` is told of a rank's own responses
    only; whatever it or the sampler raises on one rank is raised on all.

    Args:
        sampler: of ``whole``.
        whole: a plain policy, which has weights while the sampler draws.
        policy: the sharded one, which gives them.
        world: the ranks.
        solo: rank 0 draws everything, with an engine that has GPUs of its own.
    """

    def __init__(self, sampler: Sampler, whole: Policy, policy: Policy, world: World, *, solo: bool = False) -> None:
        self.sampler = sampler
        self.whole = whole
        self.policy = policy
        self.world = world
        self.solo = solo

    def generate(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        *,
        seed: int,
        step: int,
        on_finished: Callable[[Rollout], None] | None = None,
    ) -> list[list[Rollout]]:
        """See ``Sampler.generate``."""

        parts = shares(requests, self.world.size)

        def draw(mine: Sequence[Request]) -> list[list[Rollout]]:
            return self.sampler.generate(mine, settings, seed=seed, step=step, on_finished=on_finished)

        with filled(self.whole, self.policy):
            if self.solo:
                return self.world.lead(lambda: draw(requests))
            found = self.world.together(lambda: draw([request for _, request in parts[self.world.rank]]))
        drawn: dict[tuple[int, int], Rollout] = {}
        for part, rows in zip(parts, found, strict=True):
            drawn |= {(i, rollout.sample): rollout for (i, _), row in zip(part, rows, strict=True) for rollout in row}
        return [[drawn[i, sample] for sample in request.samples] for i, request in enumerate(requests)]


def shares(requests: Sequence[Request], ranks: int) -> list[list[tuple[int, Request]]]:
    """What each rank draws: as many responses as the others, but for one; a prompt's by one rank where that is even.

    Returns:
        for each rank the numbers of requests, ascending or not, and these requests with the rank's samples.
    """
    order = [i for rank in range(ranks) for i in range(rank, len(requests), ranks)]
    pairs = [(i, sample) for i in order for sample in requests[i].samples]
    ends = [len(pairs) * rank // ranks for rank in range(ranks + 1)]
    parts = []
    for begin, end in itertools.pairwise(ends):
        samples_of: dict[int, list[int]] = {}
        for i, sample in pairs[begin:end]:
            samples_of.setdefault(i, []).append(sample)
        parts.append([(i, replace(requests[i], samples=tuple(samples))) for i, samples in samples_of.items()])
    return parts
