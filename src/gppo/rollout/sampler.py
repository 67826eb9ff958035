"""What every engine offers."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gppo.policy.chat import encode_prompt
from gppo.types import Message, Problem, Rollout, SamplingSettings


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt and which samples of it are wanted.

    Args:
        problem_id: names the prompt; part of the key of its random numbers.
        prompt_ids: int64 [S].
        samples: indices of the samples; each has random numbers of its own.
        messages: the prompt as turns, for a server that makes its tokens itself; ``prompt_ids`` is then empty.
    """

    problem_id: str
    prompt_ids: np.ndarray
    samples: tuple[int, ...]
    messages: tuple[Message, ...] = ()


class Sampler(Protocol):
    """Draws responses from the current weights."""

    def generate(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        *,
        seed: int,
        step: int,
        on_finished: Callable[[Rollout], None] | None = None,
    ) -> list[list[Rollout]]:
        """Sample every request.

        Args:
            requests: prompts and sample indices.
            settings: temperature, truncation, longest response.
            seed: the run's seed.
            step: the training step; with seed, problem, sample and position it keys each random number.
            on_finished: called once for each response as soon as it ends, in the order of ending.

        Returns:
            For each request its rollouts, in the order of its samples.
        """
        ...


def requests_for(
    tokenizer: Any, problems: Sequence[Problem], samples: int, max_prompt_tokens: int
) -> tuple[list[Request], list[Problem]]:
    """Requests for G samples of each problem, and the problems whose prompts are too long (left out).

    Without a tokenizer they hold the turns, and nobody knows here which are too long.
    """
    if tokenizer is None:
        nothing = np.zeros(0, dtype=np.int64)
        return [Request(problem.id, nothing, tuple(range(samples)), problem.prompt) for problem in problems], []
    requests, too_long = [], []
    for problem in problems:
        prompt_ids = encode_prompt(tokenizer, problem.prompt)
        if len(prompt_ids) > max_prompt_tokens:
            too_long.append(problem)
        else:
            requests.append(Request(problem.id, prompt_ids, tuple(range(samples))))
    return requests, too_long


def seed_of(seed: int, step: int, name: str, sample: int) -> int:
    """The seed that is sent for one response: 31 bits, which every engine takes. It does not change between starts."""
    digest = hashlib.blake2b(f"{seed}\x1f{step}\x1f{sample}\x1f{name}".encode("utf-8", "surrogatepass"), digest_size=4)
    return int.from_bytes(digest.digest(), "little") >> 1
