"""One judge for rollouts of every kind: each goes to the judge of its problem's ability."""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gppo.types import Problem, Rollout, UserError, Verdict
from gppo.verify.judge import MathJudge
from gppo.verify.pool import TIMEOUT

if TYPE_CHECKING:
    from gppo.sandbox import Limits
    from gppo.verify.code import CodeJudge, Mode

ABILITIES = ("math", "code")
MODES: tuple["Mode", ...] = ("reward", "lcb")


class CaseJudge:
    """Judges (problem, rollout, whether the prompt opened the thinking): many in order, or one in the background.

    Args:
        workers: processes that judge math, and as many that run programs.
        timeout: seconds for one math answer.
        tests_per_problem: at most so many tests of a code problem are run, None for all.
        seed: decides which; they are the same for every response to a problem.
        limits: of one test of a program; the sandbox's own where not given, with four times the memory for problems
            of LiveCodeBench, which sets no bound.
        lenient: of math, as in ``MathJudge``.

    The sandbox starts when the first code problem comes; a SandboxError where programs cannot be isolated here.
    """

    def __init__(
        self,
        workers: int = 1,
        timeout: float = TIMEOUT,
        *,
        tests_per_problem: int | None = 16,
        seed: int = 0,
        limits: "Limits | None" = None,
        lenient: bool = False,
    ) -> None:
        self._workers = workers
        self._tests_per_problem = tests_per_problem
        self._seed = seed
        self._limits = limits
        self._math = MathJudge(workers, timeout, lenient=lenient)
        self._math_threads = ThreadPoolExecutor(workers, thread_name_prefix="math-judge")
        self._code: dict[Mode, CodeJudge] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._math_threads.shutdown(wait=False, cancel_futures=True)
            self._math.close()
        finally:
            with ExitStack() as stack:
                for judge in self._code.values():
                    stack.callback(judge.close)

    def prepare(self, problems: Iterable[Problem]) -> None:
        """Find out before anything is sampled whether these can be judged; starts the sandbox where it is needed.

        Raises:
            UserError: no judge knows a problem's ability.
            SandboxError: programs cannot be isolated here.
        """
        for mode in {_mode(problem) for problem in problems if _ability(problem) == "code"}:
            self._code_judge(mode)

    def submit(self, problem: Problem, rollout: Rollout, prompt_opened: bool) -> Future[Verdict]:
        """Judge one response in the background, so that judging overlaps decoding. Never waits. Errors as ``prepare``.

        What is under way is bounded by the caller, who keeps the responses: in RL, one step's.
        """
        if _ability(problem) == "code":
            return self._code_judge(_mode(problem)).submit(problem, rollout.text, prompt_opened, wait=False)
        return self._math_threads.submit(self._judge_math, problem, rollout.text, prompt_opened)

    def _judge_math(self, problem: Problem, response: str, prompt_opened: bool) -> Verdict:
        return self._math.judge(problem, [response], prompt_opened)[0]

    def __call__(self, cases: Sequence[tuple[Problem, Rollout, bool]]) -> list[Verdict]:
        """Verdicts in the order of the cases. Errors as from ``prepare``."""
        self.prepare(problem for problem, _, _ in cases)
        verdicts: dict[int, Verdict] = {}
        for opened in (False, True):
            index = [i for i, case in enumerate(cases) if case[0].ability == "math" and bool(case[2]) == opened]
            found = self._math.judge_many([(cases[i][0], cases[i][1].text) for i in index], opened)
            verdicts |= dict(zip(index, found, strict=True))
        for mode in MODES:
            index = [i for i, case in enumerate(cases) if case[0].ability == "code" and _mode(case[0]) == mode]
            if index:
                programs = ((problem, rollout.text, opened) for problem, rollout, opened in (cases[i] for i in index))
                verdicts |= dict(zip(index, self._code_judge(mode).imap(programs), strict=True))
        return [verdicts[i] for i in range(len(cases))]

    def _code_judge(self, mode: "Mode") -> "CodeJudge":
        if mode not in self._code:
            from gppo.sandbox import Limits
            from gppo.verify.code import CodeJudge  # starting a sandbox is for those who have code to judge

            usual = Limits()
            if mode == "lcb":
                usual = replace(usual, memory_mb=4 * usual.memory_mb)
            self._code[mode] = CodeJudge(
                self._workers,
                mode,
                limits=self._limits or usual,
                tests_per_problem=self._tests_per_problem,
                seed=self._seed,
            )
        return self._code[mode]


def _mode(problem: Problem) -> "Mode":
    """How the problem's programs are run and compared: as a reward, or as ``extra["judge"]`` says."""
    return "lcb" if problem.extra.get("judge") == "lcb" else "reward"


def _ability(problem: Problem) -> str:
    if problem.ability not in ABILITIES:
        raise UserError(
            f"problem {problem.id} has ability '{problem.ability}', which no judge knows; "
            f"use one of {', '.join(ABILITIES)}"
        )
    return problem.ability
