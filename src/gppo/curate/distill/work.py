"""Asking and judging side by side."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from gppo.curate.distill.teacher import Teacher
from gppo.curate.judging import spoken
from gppo.rollout.openai import Answer, Answers, Ask, Client, Outcome, collect, opened_in_text
from gppo.run import Bar
from gppo.run.interrupt import StopRequest
from gppo.run.journal import Journal
from gppo.types import Problem, Verdict
from gppo.verify.cases import CaseJudge

#: A response that was cut is never correct, whatever it holds.
CUT = Verdict("unparsable", 0.0, None, "cut at max_response_tokens")
#: Responses that may wait for their verdict; beyond, asking waits for the judge.
_WAITING = 256


@dataclass(slots=True)
class Work:
    """Asks for what is missing and judges what has no verdict.

    Args:
        teacher: what is asked.
        answers: keeps the answers; its budget is the run's.
        verdicts: keeps the verdicts, by the key of the request.
        judge: judges.
        bar: told of every answer.
        stop: whether to stop.
    """

    teacher: Teacher
    answers: Answers
    verdicts: Journal
    judge: CaseJudge
    bar: Bar
    stop: StopRequest
    _counts: Counter[str] = field(default_factory=Counter)
    _judging: set["asyncio.Task[None]"] = field(default_factory=set)
    _failure: BaseException | None = None

    async def run(self, unjudged: Sequence[tuple[Problem, Ask]]) -> Outcome:
        """Do it.

        Args:
            unjudged: what an earlier start asked and had no time to judge.

        Returns what became of the asking. Raises what ``collect`` and the judge do.
        """
        room = asyncio.Semaphore(_WAITING)
        problem_of = {problem.id: problem for problem in self.teacher.problems}
        async with Client(
            self.teacher.config.endpoint, self.answers.budget, self.answers.note_lost, self.stop
        ) as client:

            async def on_answer(ask: Ask, answer: Answer) -> None:
                await self._begin_judging(problem_of[ask.name], ask, answer, room)
                self._show(client, 1)

            try:
                for problem, ask in unjudged:
                    if not self.stop and (answer := self.answers.get(ask)):
                        await self._begin_judging(problem, ask, answer, room)
                asks = (ask for _, ask in self.teacher.asks())
                outcome = await collect(client, self.answers, asks, on_answer, self.stop)
                while self._judging and not self.stop:
                    await asyncio.wait(self._judging, timeout=0.1)
                    self._show(client, 0)
            finally:
                for task in self._judging:
                    task.cancel()
                await asyncio.gather(*self._judging, return_exceptions=True)
        if self._failure is not None:
            raise self._failure
        if self.stop:
            outcome.ended = "stopped"
        return outcome

    async def _begin_judging(self, problem: Problem, ask: Ask, answer: Answer, room: asyncio.Semaphore) -> None:
        """Judge in the background; waits where too many responses wait already."""
        if self._failure is not None:
            raise self._failure
        await room.acquire()
        task = asyncio.create_task(self._judge(problem, ask, answer))
        self._judging.add(task)

        def ended(task: "asyncio.Task[None]") -> None:
            self._judging.discard(task)
            room.release()
            if not task.cancelled():
                self._failure = self._failure or task.exception()

        task.add_done_callback(ended)

    async def _judge(self, problem: Problem, ask: Ask, answer: Answer) -> None:
        verdict = CUT
        if answer.finish_reason != "length":
            verdict = await asyncio.wrap_future(self._submit(problem, ask, answer))
        self._counts[verdict.status] += 1
        if verdict.status != "infra":  # that is no verdict: the next start tries again
            # Not worth a flush: after a power cut it is found again.
            self.verdicts.add(ask.key, {"verdict": verdict.status, "score": verdict.score}, flush=False)

    def _submit(self, problem: Problem, ask: Ask, answer: Answer) -> "Future[Verdict]":
        return self.judge.submit(problem, spoken(opened_in_text(answer.text), problem.id, ask.sample), False)

    def _show(self, client: Client, more: int) -> None:
        budget, counts = self.answers.budget, self._counts
        if self.stop:
            status = "waiting for the answers under way; Ctrl-C again drops them"
        else:
            parts = [f"{budget.spent.prompt + budget.spent.response:,} tokens"]
            parts += [f"{budget.money:.4f} in money"] if budget.money else []
            parts += [f"{client.retries} retries"] if client.retries else []
            parts += [f"{counts['correct']} of {counts.total()} right"] if counts else []
            status = ", ".join(parts)
        self.bar.advance(more, status=status)
