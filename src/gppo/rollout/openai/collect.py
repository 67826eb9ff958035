"""Many responses: so many requests under way at a time, every answer on disk before anything else becomes of it."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from gppo.config.endpoint import EndpointConfig
from gppo.rollout.openai.budget import Budget, BudgetSpentError
from gppo.rollout.openai.client import Client, GaveUpError, RefusedError
from gppo.rollout.openai.wire import Answer, Ask
from gppo.run.interrupt import StopRequest
from gppo.run.journal import Journal
from gppo.types import GppoError

#: So many requests given up one after the other say that the server is gone; so many problems refused before any was
#: answered, that the recipe is wrong.
_IN_A_ROW = 5
_LOOK_SECONDS = 0.1


class Answers:
    """The answers of a run, on disk: those that are there are not asked for again. Use it as a context manager.

    Args:
        path: the journal's file.
        config: prices and limits; what earlier starts spent is counted.
    """

    def __init__(self, path: Path, config: EndpointConfig) -> None:
        self.budget = Budget(config)
        self.journal = Journal(path, self._count)
        self._written = self._on_disk = 0
        self._flushing = asyncio.Lock()

    def _count(self, line: dict[str, Any]) -> None:
        self.budget.count(line["prompt_tokens"], line["response_tokens"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.journal.__exit__(*error)

    def __contains__(self, ask: Ask) -> bool:
        return ask.key in self.journal

    def get(self, ask: Ask) -> Answer | None:
        """The answer to a request, or None."""
        line = self.journal.get(ask.key)
        if line is None:
            return None
        ids = line["token_ids"]
        return Answer(
            line["text"],
            line["finish_reason"],
            line["prompt_tokens"],
            line["response_tokens"],
            None if ids is None else tuple(ids),
        )

    async def keep(self, ask: Ask, answer: Answer) -> None:
        """Put an answer on disk. Answers that come while the disk is busy share the next flush."""
        self.journal.add(ask.key, {"problem": ask.name, "sample": ask.sample, **asdict(answer)}, flush=False)
        self._written += 1
        mine = self._written
        async with self._flushing:
            if self._on_disk < mine:
                upto = self._written
                await asyncio.to_thread(self.journal.flush)
                self._on_disk = upto

    def note_lost(self, ask: Ask) -> None:
        """Put on disk that a request may have cost its worst and brought nothing."""
        self.journal.add("lost", {"prompt_tokens": ask.prompt_tokens, "response_tokens": ask.max_tokens})


@dataclass(slots=True)
class Outcome:
    """How it went.

    Args:
        ended: "done" (everything was asked), "budget" (the next request might have passed it) or "stopped".
        refused: why the server refuses a problem, by its id.
        given_up: why a request was given up, the last few in the order of giving up.
    """

    ended: Literal["done", "budget", "stopped"] = "done"
    refused: dict[str, str] = field(default_factory=dict)
    given_up: list[str] = field(default_factory=list)


async def collect(
    client: Client,
    answers: Answers,
    asks: Iterable[Ask],
    on_answer: Callable[[Ask, Answer], Awaitable[None]],
    stop: StopRequest | None = None,
    *,
    answered: bool = False,
) -> Outcome:
    """Ask for everything that is not on disk yet.

    SIGINT lets requests that are under way come to their end, as they are paid for; SIGTERM drops them.

    Args:
        client: asks.
        answers: keeps; its budget is the client's.
        asks: read as they are needed.
        on_answer: called with every new answer, after it is on disk.
        stop: whether to stop.
        answered: the server has answered such requests before, so that a refused problem says nothing about others.

    Raises:
        RefusedError: the server refuses everybody, or the first problems one and all.
        GppoError: the server is gone.
    """
    work = _Work(client, answers, iter(asks), on_answer, stop, answered)
    tasks = [asyncio.create_task(work.work()) for _ in range(client.config.concurrency)]
    try:
        pending = set(tasks)
        while pending and not work.dropped:
            done, pending = await asyncio.wait(pending, timeout=_LOOK_SECONDS, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if work.stopping:
        work.outcome.ended = "stopped"
    return work.outcome


@dataclass(slots=True)
class _Work:
    """What the workers share; the fields before the last two are those of ``collect``."""

    client: Client
    answers: Answers
    asks: Iterator[Ask]
    on_answer: Callable[[Ask, Answer], Awaitable[None]]
    stop: StopRequest | None
    answered: bool
    outcome: Outcome = field(default_factory=Outcome)
    in_a_row: int = 0

    @property
    def stopping(self) -> bool:
        return bool(self.stop)

    @property
    def dropped(self) -> bool:
        return self.stop is not None and self.stop.signum == signal.SIGTERM

    async def work(self) -> None:
        """Take what is asked, one after the other, until there is nothing left or a reason to end."""
        for ask in self.asks:
            if ask in self.answers:
                self.answered = True
                continue
            if ask.name in self.outcome.refused:
                continue
            if self.stopping or self.outcome.ended == "budget":
                return
            try:
                await self.one(ask)
            except BudgetSpentError:
                self.outcome.ended = "budget"
            except GaveUpError as error:
                self.gave_up(error)
            except RefusedError as error:
                self.refused(ask, error)

    async def one(self, ask: Ask) -> None:
        answer = await self.client.ask(ask)
        await self.answers.keep(ask, answer)
        self.answered, self.in_a_row = True, 0
        await self.on_answer(ask, answer)

    def gave_up(self, error: GaveUpError) -> None:
        if self.stopping:
            return
        self.outcome.given_up = [*self.outcome.given_up[-9:], str(error)]
        self.in_a_row += 1
        if self.in_a_row >= _IN_A_ROW:
            raise GppoError(f"{error}; see whether the server is well, and run the same command again to go on")

    def refused(self, ask: Ask, error: RefusedError) -> None:
        self.outcome.refused[ask.name] = str(error)
        if not error.of_request or (not self.answered and len(self.outcome.refused) >= _IN_A_ROW):
            raise error
