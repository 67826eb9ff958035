"""Tokens and money: nothing is sent whose worst case would pass the budget."""

import asyncio
from dataclasses import dataclass

from gppo.config.endpoint import EndpointConfig
from gppo.rollout.openai.wire import Ask


class BudgetSpentError(Exception):
    """The next request might pass the budget."""


@dataclass(slots=True)
class Tokens:
    """Tokens of prompts and of responses."""

    prompt: int = 0
    response: int = 0

    def add(self, prompt: int, response: int) -> None:
        """Count more, or with negative numbers fewer."""
        self.prompt += prompt
        self.response += response


class Budget:
    """What was spent, and what is held back for requests under way: the most that each of them can cost.

    Args:
        config: prices and limits.

    Attributes:
        spent: in this start of a run and, where they were counted with ``count``, in earlier ones.
    """

    def __init__(self, config: EndpointConfig) -> None:
        self._config = config
        self.spent = Tokens()
        self._held = Tokens()
        self._changed = asyncio.Condition()

    def count(self, prompt_tokens: int, response_tokens: int) -> None:
        """Count what was spent before."""
        self.spent.add(prompt_tokens, response_tokens)

    async def hold(self, ask: Ask) -> None:
        """Hold back what a request may cost at most; waits while only requests under way stand in the way of it.

        Raises:
            BudgetSpentError: it does not fit, and nothing is under way that could turn out cheaper.
        """
        async with self._changed:
            while not self._fits(ask):
                if not (self._held.prompt or self._held.response):
                    raise BudgetSpentError
                await self._changed.wait()
            self._held.add(ask.prompt_tokens, ask.max_tokens)

    async def settle(self, ask: Ask, prompt_tokens: int, response_tokens: int) -> None:
        """Put what a request did cost in the place of what was held back for it."""
        async with self._changed:
            self._held.add(-ask.prompt_tokens, -ask.max_tokens)
            self.spent.add(prompt_tokens, response_tokens)
            self._changed.notify_all()

    @property
    def money(self) -> float:
        """What was spent, in the currency of the prices."""
        return self._cost(self.spent.prompt, self.spent.response)

    def left(self) -> str:
        """What is left of each limit, in words; "" where there is none."""
        limits, parts = self._config.budget, []
        if limits.tokens is not None:
            left = limits.tokens - self.spent.prompt - self.spent.response
            parts.append(f"{max(0, left):,} of {limits.tokens:,} tokens")
        if limits.money is not None:
            parts.append(f"{max(0.0, limits.money - self.money):.4f} of {limits.money:g} in money")
        return " and ".join(parts)

    def _fits(self, ask: Ask) -> bool:
        limits = self._config.budget
        prompt = self.spent.prompt + self._held.prompt + ask.prompt_tokens
        response = self.spent.response + self._held.response + ask.max_tokens
        if limits.tokens is not None and prompt + response > limits.tokens:
            return False
        return limits.money is None or self._cost(prompt, response) <= limits.money

    def _cost(self, prompt: int, response: int) -> float:
        return (self._config.price_in * prompt + self._config.price_out * response) / 1e6
