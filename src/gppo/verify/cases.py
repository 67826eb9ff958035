"""One judge for rollouts of every kind: each goes to the judge of its problem's ability."""

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gppo.types import Problem, Rollout, UserError, Verdict
from gppo.verify.judge import MathJudge

if TYPE_CHECKING:
    from gppo.sandbox import Limits
    from gppo.verify.code import CodeJudge

ABILITIES = ("math", "code")


class CaseJudge:
    """Judges (problem, rollout, whether the prompt opened the thinking), in order.

    Args:
        workers: processes that judge.
        timeout: seconds for one math answer.
        tests_per_problem: at most so many tests of a code problem are run, None for all.
        seed: decides which; they are the same for every response to a problem.
        limits: of one test of a program; the sandbox's own where not given.

    The sandbox starts when the first code problem comes; a SandboxError where programs cannot be isolated here.
    """

    def __init__(
        self,
        workers: int = 1,
        timeout: float = 5.0,
        *,
        tests_per_problem: int | None = 16,
        seed: int = 0,
        limits: "Limits | None" = None,
    ) -> None:
        self._workers = workers
        self._tests_per_problem = tests_per_problem
        self._seed = seed
        self._limits = limits
        self._math = MathJudge(workers, timeout)
        self._code: CodeJudge | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._math.close()
        finally:
            if self._code is not None:
                self._code.close()

    def prepare(self, problems: Iterable[Problem]) -> None:
        """Find out before anything is sampled whether these can be judged; starts the sandbox where it is needed.

        Raises:
            UserError: no judge knows a problem's ability.
            SandboxError: programs cannot be isolated here.
        """
        abilities = set()
        for problem in problems:
            if problem.ability not in ABILITIES:
                raise UserError(
                    f"problem {problem.id} has ability '{problem.ability}', which no judge knows; "
                    f"use one of {', '.join(ABILITIES)}"
                )
            abilities.add(problem.ability)
        if "code" in abilities:
            self._code_judge()

    def __call__(self, cases: Sequence[tuple[Problem, Rollout, bool]]) -> list[Verdict]:
        """Verdicts in the order of the cases. Errors as from ``prepare``."""
        self.prepare(problem for problem, _, _ in cases)
        verdicts: dict[int, Verdict] = {}
        for opened in (False, True):
            index = [i for i, case in enumerate(cases) if case[0].ability == "math" and bool(case[2]) == opened]
            found = self._math.judge_many([(cases[i][0], cases[i][1].text) for i in index], opened)
            verdicts |= dict(zip(index, found, strict=True))
        index = [i for i, case in enumerate(cases) if case[0].ability == "code"]
        if index:
            programs = ((problem, rollout.text, opened) for problem, rollout, opened in (cases[i] for i in index))
            verdicts |= dict(zip(index, self._code_judge().imap(programs), strict=True))
        return [verdicts[i] for i in range(len(cases))]

    def _code_judge(self) -> "CodeJudge":
        if self._code is None:
            from gppo.sandbox import Limits
            from gppo.verify.code import CodeJudge  # starting a sandbox is for those who have code to judge

            self._code = CodeJudge(
                self._workers,
                limits=self._limits or Limits(),
                tests_per_problem=self._tests_per_problem,
                seed=self._seed,
            )
        return self._code
