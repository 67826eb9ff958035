"""Judging responses to math problems: thinking, then extraction, then comparison."""

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Self

from gppo.types import Problem, UserError, Verdict
from gppo.verify.extract import extract_answer
from gppo.verify.pool import JudgePool
from gppo.verify.thinking import split_thinking

THINKING_OPEN = "thinking not closed"
NO_ANSWER = "no boxed answer"


class MathJudge:
    r"""Judges responses against reference answers; score 1 where correct, else 0.

    A response must close its thinking and box its answer: ``unparsable`` otherwise, never ``wrong`` by a guess at
    another number. Whether a response was cut at its token limit is the caller's to check.

    Args:
        workers, timeout, memory_limit: as in ``JudgePool``.
    """

    def __init__(self, workers: int = 1, timeout: float = 5.0, memory_limit: int = 1 << 30) -> None:
        self._pool = JudgePool(workers, timeout, memory_limit)

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
        return self._pool.imap(_answer_pair(gold, response, prompt_opened) for gold, response in pairs)


def verify(gold: str, response: str, *, timeout: float = 5.0, prompt_opened: bool = False) -> Verdict:
    """Judge one response against a reference answer.

    For many responses use ``MathJudge``: this starts a worker process, about a second, where the answer needs one.
    """
    with MathJudge(workers=1, timeout=timeout) as judge:
        return next(judge.imap([(gold, response)], prompt_opened))


def _answer_pair(gold: str, response: str, prompt_opened: bool) -> tuple[str, str] | Verdict:
    """The reference and the answer found in a response, or the verdict where there is no answer to compare."""
    thinking = split_thinking(response, prompt_opened)
    if thinking.status == "open":
        return Verdict("unparsable", 0.0, None, THINKING_OPEN)
    answer = extract_answer(thinking.answer)
    if not answer:
        return Verdict("unparsable", 0.0, None, NO_ANSWER)
    return boxed_or_bare(gold), answer


def boxed_or_bare(gold: str) -> str:
    """The reference answer without the box that some data sets leave around it."""
    return extract_answer(gold) or gold


def _reference(problem: Problem) -> str:
    if not problem.ground_truth.strip():
        raise UserError(f"Problem {problem.id!r} has an empty ground_truth; give it a reference answer or remove it.")
    return problem.ground_truth
