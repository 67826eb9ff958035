"""Judging responses to math problems: thinking, then extraction, then comparison."""

import atexit
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from gppo.types import Problem, UserError, Verdict
from gppo.verify.extract import last_box, percent_follows
from gppo.verify.lenient import stated_answer
from gppo.verify.pool import TIMEOUT, JudgePool
from gppo.verify.reference import read_reference
from gppo.verify.thinking import split_thinking

THINKING_OPEN = "thinking not closed"
NO_ANSWER = "no boxed answer"
NOTHING_STATED = "no answer found"


class MathJudge:
    r"""Judges responses against reference answers; score 1 where correct, else 0.

    A response must close its thinking and box its answer: ``unparsable`` otherwise, never ``wrong`` by a guess at
    another number. Whether a response was cut at its token limit is the caller's to check.

    Args:
        workers, timeout, memory_limit: as in ``JudgePool``.
        lenient: without a box, take what the response states last; and read boxes that a comma or "and" joins as a
            list. For evaluation of models that were never told to box; not for rewards.
    """

    def __init__(
        self, workers: int = 1, timeout: float = TIMEOUT, memory_limit: int = 1 << 30, *, lenient: bool = False
    ) -> None:
        self._pool = JudgePool(workers, timeout, memory_limit)
        self._lenient = lenient

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes."""
        self._pool.close()

    def judge(self, problem: Problem, responses: Sequence[str], prompt_opened: bool = False) -> list[Verdict]:
        """Judge the responses to one problem; verdicts in their order.

        Args:
            problem: its ``ground_truth`` is the reference answer, bare or boxed.
            responses: G sampled texts.
            prompt_opened: the prompt ended with ``<think>``.
        """
        return self.judge_many(((problem, response) for response in responses), prompt_opened)

    def judge_many(self, pairs: Iterable[tuple[Problem, str]], prompt_opened: bool = False) -> list[Verdict]:
        """Judge (problem, response) pairs side by side; verdicts in the order of the pairs."""
        return list(self.imap(((_reference(problem), response) for problem, response in pairs), prompt_opened))

    def imap(self, pairs: Iterable[tuple[str, str]], prompt_opened: bool = False) -> Iterator[Verdict]:
        """Judge a stream of (reference answer, response) pairs; verdicts in order."""
        return self._pool.imap(answer_pair(gold, response, prompt_opened, self._lenient) for gold, response in pairs)


def verify(
    gold: str, response: str, *, timeout: float = TIMEOUT, prompt_opened: bool = False, lenient: bool = False
) -> Verdict:
    r"""Judge one response against a reference answer. May be called from any thread.

    Args:
        gold: the reference answer, bare or boxed.
        response: the whole response.
        timeout: seconds for the comparison; the first one that needs computer algebra waits about a second more, while
            a worker process starts. It is kept for the calls that follow.
        prompt_opened: the prompt ended with ``<think>``.
        lenient: as in ``MathJudge``.
    """
    if timeout <= 0:
        raise UserError(f"verify needs timeout > 0, not {timeout}")
    pair = answer_pair(gold, response, prompt_opened, lenient)
    return pair if isinstance(pair, Verdict) else _shared_pool().judge(*pair, timeout)


def answer_pair(gold: str, response: str, prompt_opened: bool, lenient: bool) -> tuple[str, str] | Verdict:
    """The reference and the answer found in a response, or the verdict where there is no answer to compare."""
    thinking = split_thinking(response, prompt_opened)
    if thinking.status == "open":
        return Verdict("unparsable", 0.0, None, THINKING_OPEN)
    box = last_box(thinking.answer)
    answer = stated_answer(thinking.answer) if lenient else box.content if box else None
    if not answer:
        return Verdict("unparsable", 0.0, None, NOTHING_STATED if lenient else NO_ANSWER)
    reference = read_reference(gold)
    if "%" in reference and "%" not in answer and box and percent_follows(thinking.answer, box):
        answer += r"\%"  # \boxed{28}\% says 28 % where that is asked, and 28 where the problem has the sign already
    return reference, answer


_shared: dict[int, JudgePool] = {}
_sharing = threading.Lock()


def _shared_pool() -> JudgePool:
    """The pool of ``verify``, one in each process: starting a worker for each call would take a second each."""
    with _sharing:
        pool = _shared.get(os.getpid())
        if pool is None:
            pool = _shared[os.getpid()] = JudgePool(workers=min(4, os.cpu_count() or 1))
            atexit.register(pool.close)
        return pool


def _reference(problem: Problem) -> str:
    if not problem.ground_truth.strip():
        raise UserError(f"Problem {problem.id!r} has an empty ground_truth; give it a reference answer or remove it.")
    return problem.ground_truth
