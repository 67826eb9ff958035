"""Judging responses to code problems: thinking, extraction, a run in the sandbox for each test, comparison."""

import functools
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from gppo.sandbox import Execution, Limits, Sandbox
from gppo.types import Problem, UserError, Verdict
from gppo.verify.code.compare import Mode, same_text, same_value
from gppo.verify.code.extract import extract_code
from gppo.verify.code.programs import build_program
from gppo.verify.code.suite import AssertTests, BadTestsError, StdinTests, Suite, choose, read_suite
from gppo.verify.thinking import split_thinking

#: What a test can come to: right; a wrong answer; past the limit of time, memory or output; an error or a return code
#: other than 0; no program that compiles; not judged, because the sandbox failed.
CASES = ("PASS", "WA", "TLE", "MLE", "OLE", "RE", "CE", "INFRA")

TESTS_PER_PROBLEM = 16
DEFAULT_LIMITS = Limits()
THINKING_OPEN = "thinking not closed"
NO_CODE = "no fenced block of code"

_FAILURES = {"timeout": "TLE", "memory": "MLE", "output": "OLE", "error": "RE", "compile": "CE", "infra": "INFRA"}
_NOT_PYTHON = ("SyntaxError", "IndentationError", "TabError")
_DETAIL_CHARS = 200
_KEPT_SUITES = 512  # parsed tests: the responses of a step end in any order
_KEPT_VERDICTS = 4096
_UNDER_WAY = 4  # jobs in the queue for each worker, where the caller waits


@dataclass(frozen=True, slots=True)
class CodeVerdict:
    """What became of one program.

    Args:
        cases: one of ``CASES`` for each test.
        details: in a few words what happened in each test, "" where it passed.
        seconds: wall time of all runs.
    """

    cases: tuple[str, ...]
    details: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def passed(self) -> int:
        """Tests passed."""
        return self.cases.count("PASS")

    @property
    def total(self) -> int:
        """Tests, at least one."""
        return len(self.cases)

    @property
    def score(self) -> float:
        """Share of tests passed, in [0, 1]."""
        return self.passed / self.total

    @property
    def status(self) -> str:
        """One of the statuses of ``gppo.types.Verdict``; timeout where time alone was what failed."""
        kinds = set(self.cases) - {"PASS"}
        if "INFRA" in kinds:
            return "infra"
        return "timeout" if kinds == {"TLE"} else "wrong" if kinds else "correct"

    @property
    def summary(self) -> str:
        """All of it in one line, e.g. "12 of 16 tests passed, 3 WA, 1 TLE; test 2: exit status 1"."""
        counts = Counter(self.cases)
        failures = [f"{counts[case]} {case}" for case in CASES[1:] if counts[case]]
        first = next((f"; test {i}: {detail[:_DETAIL_CHARS]}" for i, detail in enumerate(self.details) if detail), "")
        return ", ".join([f"{self.passed} of {self.total} tests passed", *failures]) + first


class CodeJudge:
    """Judges programs in the sandbox; may be called from any thread.

    Args:
        workers: programs judged side by side, each in a sandbox worker of its own.
        mode: "reward" (a real process, tolerant of white space) or "lcb" (as LiveCodeBench; docs/code_judging.md).
        limits: of one run of a program, which is one test.
        tests_per_problem: at most so many tests of a problem are run, None for all.
        seed: with the problem's id it decides which; the same for every response.
        tolerance: with mode "reward", how far numbers may be off, absolute or relative; 0 compares exactly.

    Raises:
        UserError: a setting makes no sense.
        SandboxError: programs cannot be isolated on this machine; the message says what to install or allow.
    """

    def __init__(
        self,
        workers: int = 1,
        mode: Mode = "reward",
        limits: Limits = DEFAULT_LIMITS,
        *,
        tests_per_problem: int | None = TESTS_PER_PROBLEM,
        seed: int = 0,
        tolerance: float = 0.0,
    ) -> None:
        if workers < 1 or (tests_per_problem is not None and tests_per_problem < 1) or tolerance < 0:
            raise UserError(
                "A code judge needs workers >= 1, tests_per_problem >= 1 and tolerance >= 0, "
                f"not {workers}, {tests_per_problem} and {tolerance}."
            )
        self._mode: Mode = mode
        self._limits = limits
        self._tolerance = tolerance
        self._tests_per_problem = tests_per_problem
        self._seed = seed
        self._suite = functools.lru_cache(_KEPT_SUITES)(self._read_suite)
        self._sandbox = Sandbox(workers)
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="code-judge")
        self._room = threading.BoundedSemaphore(_UNDER_WAY * workers)
        self._window = _UNDER_WAY * workers
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, str], Future[Verdict]] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the sandbox at once: futures not yet begun are cancelled, those under way raise SandboxError."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._sandbox.close()
        self._threads.shutdown()

    def run(self, source: str, suite: Suite, limits: Limits | None = None) -> list[Execution]:
        """What a program does with the input of every test; nothing is compared."""
        return self._sandbox.run(build_program(source, suite, self._mode), limits or self._limits)

    def check(self, source: str, suite: Suite, limits: Limits | None = None) -> CodeVerdict:
        """Run a program against every test of a suite. Expected outputs stay in this process."""
        executions = self.run(source, suite, limits)
        cases = tuple(self._case(suite, i, execution) for i, execution in enumerate(executions))
        details = ("" if case == "PASS" else run.detail for case, run in zip(cases, executions, strict=True))
        return CodeVerdict(cases, tuple(details), sum(execution.seconds for execution in executions))

    def judge(self, problem: Problem, responses: Sequence[str], prompt_opened: bool = False) -> list[Verdict]:
        """Judge the responses to one problem; verdicts in their order.

        Args:
            problem: its ``ground_truth`` holds the tests, see ``read_suite``.
            responses: G sampled texts.
            prompt_opened: the prompt ended with ``<think>``.
        """
        return list(self.imap((problem, response, prompt_opened) for response in responses))

    def imap(self, cases: Iterable[tuple[Problem, str, bool]]) -> Iterator[Verdict]:
        """Judge a stream of (problem, response, prompt_opened); verdicts in order, as soon as they are there.

        A few responses for each worker are under way, so the stream may be endless and may still be decoding.
        """
        waiting: deque[Future[Verdict]] = deque()
        try:
            for case in cases:
                waiting.append(self.submit(*case))
                while waiting and (waiting[0].done() or len(waiting) > self._window):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for left in waiting:
                left.cancel()

    def submit(
        self, problem: Problem, response: str, prompt_opened: bool = False, *, wait: bool = True
    ) -> "Future[Verdict]":
        """Judge one response in the background. Equal programs for one problem are run once and share a future.

        Args:
            problem: its ``ground_truth`` holds the tests.
            response: a sampled text.
            prompt_opened: the prompt ended with ``<think>``.
            wait: wait while the queue is full. A caller who may not be held up, as one who is decoding, says no; what
                is under way is then as much as the caller hands over.

        Raises:
            UserError: the tests are unusable.
        """
        suite = self._suite(problem.id, problem.ground_truth)
        thinking = split_thinking(response, prompt_opened)
        source = None if thinking.status == "open" else extract_code(thinking.answer)
        if source is None:
            ready: Future[Verdict] = Future()
            ready.set_result(Verdict("unparsable", 0.0, None, THINKING_OPEN if thinking.status == "open" else NO_CODE))
            return ready
        key = (problem.id, problem.ground_truth, source)
        with self._lock:
            known = self._known.get(key)
        if known is not None and _stands(known):
            return known
        future = self.submit_program(source, suite, wait=wait)
        with self._lock:
            self._known[key] = future
            self._known.move_to_end(key)
            while len(self._known) > _KEPT_VERDICTS:
                self._known.popitem(last=False)
        return future

    def submit_program(
        self, source: str, suite: Suite, limits: Limits | None = None, *, wait: bool = True
    ) -> "Future[Verdict]":
        """Judge a bare program in the background, as ``check`` does; ``wait`` as in ``submit``."""
        if not wait:
            return self._threads.submit(self._verdict, source, suite, limits)
        self._room.acquire()
        try:
            future = self._threads.submit(self._verdict, source, suite, limits)
        except BaseException:
            self._room.release()
            raise
        future.add_done_callback(lambda _: self._room.release())
        return future

    def _verdict(self, source: str, suite: Suite, limits: Limits | None) -> Verdict:
        found = self.check(source, suite, limits)
        return Verdict(found.status, found.score, source, found.summary, found.seconds, found.cases)

    def _case(self, suite: Suite, index: int, execution: Execution) -> str:
        if execution.status != "ok":
            parsed_inside = self._mode == "lcb" and execution.detail.startswith(_NOT_PYTHON)
            return "CE" if parsed_inside else _FAILURES[execution.status]
        if isinstance(suite, StdinTests):
            right = same_text(_decode(execution.stdout), suite.outputs[index], self._mode, self._tolerance)
        elif isinstance(suite, AssertTests):
            right = execution.passed
        else:
            right = same_value(execution.value, suite.outputs[index], self._mode, self._tolerance)
        return "PASS" if right else "WA"

    def _read_suite(self, problem_id: str, ground_truth: str) -> Suite:
        try:
            suite = read_suite(ground_truth)
        except BadTestsError as error:
            raise UserError(f"Problem {problem_id!r} cannot be judged: its tests {error}.") from None
        return choose(suite, self._tests_per_problem, f"{self._seed}/{problem_id}")


def _stands(future: "Future[Verdict]") -> bool:
    """Whether an earlier verdict on the same program still holds: not where the machine may be what failed it."""
    if not future.done():
        return True
    if future.cancelled() or future.exception() is not None:
        return False
    return not {"INFRA", "TLE"} & set(future.result().cases)


def _decode(output: bytes) -> str:
    try:
        return output.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return output.decode("utf-8", "replace")
