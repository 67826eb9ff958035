"""Our decoder as TRL's ``rollout_func``."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gppo.policy import Policy
from gppo.rollout import LocalSampler, Request
from gppo.types import Rollout, SamplingSettings, UserError


class LocalRollouts:
    """``GPPOTrainer(..., rollout_func=LocalRollouts())`` decodes with the training model's own weights.

    A group's prompt is computed once, finished rows leave at once, and draws depend on seed, step, prompt and row only.
    For one process a model; not for weights that FSDP or DeepSpeed has taken apart.

    Args:
        max_rows: responses decoded side by side.
        compiled: see ``LocalSampler``.
    """

    def __init__(self, max_rows: int = 256, compiled: bool | None = None) -> None:
        self.max_rows = max_rows
        self.compiled = compiled
        self._sampler: LocalSampler | None = None
        self._last: tuple[int, int] = (-1, 0)

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, list[list[Any]]]:
        """One response for each of the prompts, which TRL gives G times each.

        Returns:
            prompt_ids, completion_ids and logprobs (nats), a list a response.

        Raises:
            UserError: TRL's settings truncate the distribution, or a prompt has pictures.
        """
        prompt_ids, images, _ = trainer._tokenize_prompts(prompts)
        if images is not None:
            raise UserError("LocalRollouts decodes text; leave rollout_func out for prompts with pictures")
        sampler = self._sampler = self._sampler or self._make(trainer)
        step, times = trainer.state.global_step, self._times(trainer.state.global_step)
        first = trainer.accelerator.process_index * len(prompts)
        rows: dict[tuple[int, ...], list[int]] = {}
        for row, ids in enumerate(prompt_ids):
            rows.setdefault(tuple(ids), []).append(row)
        requests = [
            # Named by its first row, which is another one in every process, and by how often this step has sampled.
            Request(f"{times}/{first + of[0]}", np.array(ids, dtype=np.int64), tuple(first + row for row in of))
            for ids, of in rows.items()
        ]
        settings = SamplingSettings(temperature=trainer.temperature, max_tokens=trainer.max_completion_length)
        groups = sampler.generate(requests, settings, seed=trainer.args.seed, step=step)
        found: dict[int, Rollout] = {r.sample - first: r for group in groups for r in group}
        return {
            "prompt_ids": [list(ids) for ids in prompt_ids],
            "completion_ids": [found[row].response_ids.tolist() for row in range(len(prompts))],
            "logprobs": [found[row].sampled_logprobs.tolist() for row in range(len(prompts))],
        }

    def _make(self, trainer: Any) -> LocalSampler:
        args = trainer.args
        if args.top_p != 1 or args.top_k or args.min_p or args.repetition_penalty != 1 or args.generation_kwargs:
            raise UserError(
                "LocalRollouts samples from the whole distribution, as RL should: leave top_p, top_k, min_p, "
                "repetition_penalty and generation_kwargs at their defaults"
            )
        policy = Policy(trainer.accelerator.unwrap_model(trainer.model), trainer.processing_class)
        updates = trainer.state.max_steps * args.gradient_accumulation_steps
        calls = max(1, updates // (args.steps_per_generation * args.num_iterations))
        return LocalSampler(policy, self.max_rows, self.compiled, calls=calls)

    def _times(self, step: int) -> int:
        """How often this optimizer step has been sampled for already."""
        times = self._last[1] + 1 if self._last[0] == step else 0
        self._last = step, times
        return times
