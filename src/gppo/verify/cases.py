"""One judge for rollouts of every kind: each goes to the judge of its problem's ability."""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from gppo.types import Problem, Rollout, UserError, Verdict
from gppo.verify.judge import MathJudge


def check_abilities(problems: Iterable[Problem]) -> None:
    """A UserError where no judge knows a problem's ability."""
    for problem in problems:
        if problem.ability != "math":
            raise UserError(
                f"problem {problem.id} has ability '{problem.ability}', which this version cannot judge; "
                "keep problems of ability 'math'"
            )


class CaseJudge:
    """Judges (problem, rollout, whether the prompt opened the thinking), in order.

    Args:
        workers: processes that judge.
        timeout: seconds for one answer.
    """

    def __init__(self, workers: int = 1, timeout: float = 5.0) -> None:
        self._math = MathJudge(workers, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._math.close()

    def __call__(self, cases: Sequence[tuple[Problem, Rollout, bool]]) -> list[Verdict]:
        """Verdicts in the order of the cases. A UserError where no judge knows a problem's ability."""
        check_abilities(problem for problem, _, _ in cases)
        verdicts: dict[int, Verdict] = {}
        for opened in (False, True):
            index = [i for i, case in enumerate(cases) if bool(case[2]) == opened]
            found = self._math.judge_many([(cases[i][0], cases[i][1].text) for i in index], opened)
            verdicts |= dict(zip(index, found, strict=True))
        return [verdicts[i] for i in range(len(cases))]
