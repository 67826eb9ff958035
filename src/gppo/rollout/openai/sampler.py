"""An endpoint as a sampler: what evaluation asks of the local engine, asked of a server."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from gppo.config.endpoint import EndpointConfig
from gppo.rollout.openai.budget import Budget
from gppo.rollout.openai.client import Client
from gppo.rollout.openai.collect import Answers, Outcome, collect
from gppo.rollout.openai.wire import Answer, Ask, chat_ask, completion_ask
from gppo.rollout.sampler import Request, seed_of
from gppo.types import GppoError, Rollout, SamplingSettings

#: Stands for a token of a response whose tokens the server does not give; there are as many as it counted.
UNKNOWN_TOKEN = -1


class OpenAISampler:
    """Draws responses from a server, with a seed of its own for each. Use it as a context manager.

    Every response is put on disk when it comes; what is there is not asked for again. So a second call goes on where
    the first was killed, and gives what that would have given.

    Args:
        config: the server. Requests with turns go to chat completions, others to completions with token ids.
        path: the journal of answers.
        max_context: the longest prompt and response together in tokens; None where only the server knows.
        skip_refused: a problem that the server refuses has no responses instead of ending everything.

    Attributes:
        refused: why the server refuses a problem, by its id; with ``skip_refused``.
    """

    def __init__(
        self, config: EndpointConfig, path: Path, max_context: int | None = None, *, skip_refused: bool = False
    ) -> None:
        self.config = config
        self.max_context = max_context
        self.refused: dict[str, str] = {}
        self._skip_refused = skip_refused
        self._path = path
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._answers = stack.enter_context(Answers(self._path, self.config))
            self._loop = stack.enter_context(asyncio.Runner())
            self._client = Client(self.config, self._answers.budget, self._answers.note_lost)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run(self._client.close())
        self._stack.close()

    def generate(
        self,
        requests: Sequence[Request],
        settings: SamplingSettings,
        *,
        seed: int,
        step: int,
        on_finished: Callable[[Rollout], None] | None = None,
    ) -> list[list[Rollout]]:
        """See ``Sampler.generate``. Log-probabilities are not asked for: they are NaN.

        Raises:
            UserError: the server refuses, and would again.
            GppoError: the server is gone, or the budget is spent; answers that came are kept.
        """
        asks = [[self._ask(r, sample, settings, seed, step) for sample in r.samples] for r in requests]
        flat = [(request, ask) for request, row in zip(requests, asks, strict=True) for ask in row]
        request_of = {ask.key: request for request, ask in flat}

        async def tell(ask: Ask, answer: Answer) -> None:
            if on_finished is not None:
                on_finished(_rollout(request_of[ask.key], ask, answer))

        for request, ask in flat:
            if on_finished is not None and (kept := self._answers.get(ask)):
                on_finished(_rollout(request, ask, kept))
        asked = (ask for _, ask in flat)
        outcome = self._loop.run(collect(self._client, self._answers, asked, tell, answered=self._skip_refused))
        skipped = outcome.refused if self._skip_refused else {}
        self.refused |= skipped
        found = {ask.key: self._answers.get(ask) for _, ask in flat if ask.name not in skipped}
        _refuse_gaps(outcome, list(found.values()), self._answers.budget)
        return [
            [_rollout(request, ask, answer) for ask in row if (answer := found.get(ask.key))]
            for request, row in zip(requests, asks, strict=True)
        ]

    def _ask(self, request: Request, sample: int, settings: SamplingSettings, seed: int, step: int) -> Ask:
        own = seed_of(seed, step, request.problem_id, sample)
        if request.messages:
            return chat_ask(self.config, request.problem_id, sample, request.messages, settings, own)
        ids = request.prompt_ids.tolist()
        return completion_ask(self.config, request.problem_id, sample, ids, self._within(request, settings), own)

    def _within(self, request: Request, settings: SamplingSettings) -> SamplingSettings:
        """The settings, with the longest response that the context has room for."""
        if self.max_context is None:
            return settings
        room = self.max_context - len(request.prompt_ids)
        return replace(settings, max_tokens=max(1, min(settings.max_tokens, room)))


def _rollout(request: Request, ask: Ask, answer: Answer) -> Rollout:
    if answer.token_ids is None:
        # The count is the server's word, so it is held to what was asked for.
        ids = np.full(min(answer.response_tokens, ask.max_tokens), UNKNOWN_TOKEN, dtype=np.int64)
    else:
        ids = np.array(answer.token_ids, dtype=np.int64)
    return Rollout(
        problem_id=request.problem_id,
        sample=ask.sample,
        prompt_ids=request.prompt_ids,
        response_ids=ids,
        sampled_logprobs=np.full(len(ids), np.nan, dtype=np.float32),
        text=answer.text,
        finish_reason=answer.finish_reason,
    )


def _refuse_gaps(outcome: Outcome, found: Sequence[Answer | None], budget: Budget) -> None:
    """Raise where a response is missing: a score over what is there would be another score."""
    there = sum(answer is not None for answer in found)
    if there == len(found):
        return
    kept = f"{there} of {len(found)} responses of this batch are kept"
    if outcome.ended == "budget":
        raise GppoError(
            f"{kept}, and the next might pass the budget: {budget.left()} left; raise endpoint.budget and run the same "
            "command again"
        )
    reason = next(iter([*outcome.refused.values(), *outcome.given_up]))
    raise GppoError(f"{kept}: {reason}; run the same command again to ask for the others")
