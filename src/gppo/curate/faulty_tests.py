"""The step that finds tests which solutions known to be right contradict, in agreement with each other."""

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

from gppo.config import FaultyTestsConfig
from gppo.curate.contradictions import Faulty, contradicted
from gppo.curate.step import Bench, Change, Item, Items, Removed, Replaced
from gppo.run.journal import journalled
from gppo.sandbox import Execution, Limits
from gppo.types import Problem, UserError
from gppo.types.files import atomic_file, json_line
from gppo.verify.code import BadTestsError, CodeJudge, Suite, extract_code, read_suite


def without_tests(ground_truth: str, faulty: Sequence[int]) -> str:
    """The tests as JSON without some of them."""
    tests = json.loads(ground_truth)
    for key in ("inputs", "outputs", "asserts"):
        if key in tests:
            tests[key] = [test for i, test in enumerate(tests[key]) if i not in set(faulty)]
    return json.dumps(tests, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class FaultyTests:
    """Runs the solutions that come with code problems, and takes out the tests, or the problems, that they contradict.

    ``<ledger>.faulty-tests.jsonl`` names every faulty test with its input, what it expects and what solutions give. A
    problem without enough solutions stays as it is and is counted in a note.
    """

    config: FaultyTestsConfig

    passes = 1
    title = "faulty tests"

    def changes(self, items: Items, bench: Bench) -> Iterator[Change]:
        """Problems without their faulty tests, or no more ("faulty tests")."""
        if bench.kind != "problems":
            raise UserError("curate: the step faulty_tests is for problems; conversations have no tests of their own")
        tests = problems = unproved = 0
        with (
            atomic_file(bench.ledger.with_suffix(".faulty-tests.jsonl")) as file,
            _Runner(self.config, bench.seed) as runner,
        ):
            for item, told in journalled(bench.folder / "faulty-tests.jsonl", items, runner.work):
                if told is None:
                    unproved += 1
                    continue
                faulty = [Faulty(**each) for each in told]
                if faulty:
                    tests, problems = tests + len(faulty), problems + 1
                    for each in faulty:
                        file.write(json_line({"id": item.record.id, "source": item.source, **asdict(each)}))
                    yield self._change(item, faulty)
        bench.notes.append(f"{tests} faulty tests in {problems} problems")
        if unproved:
            few = f"fewer than {self.config.agree} different solutions"
            bench.notes.append(f"{unproved} code problems have {few} and stay as they are")

    def _change(self, item: Item, faulty: Sequence[Faulty]) -> Change:
        problem = item.record
        assert isinstance(problem, Problem)
        more = f", and {len(faulty) - 1} more tests" if len(faulty) > 1 else ""
        removed = Removed(
            item, "faulty tests", faulty[0].sentence + more, {"faulty": [asdict(each) for each in faulty]}
        )
        if self.config.remove == "problems" or len(faulty) == len(read_suite(problem.ground_truth)):
            return removed
        ground_truth = without_tests(problem.ground_truth, [each.test for each in faulty])
        return Replaced(item, replace(problem, ground_truth=ground_truth))


class _Runner:
    """The sandbox of the step, and a few problems under way in it. It starts with the first problem that needs it."""

    def __init__(self, config: FaultyTestsConfig, seed: int) -> None:
        self._config, self._seed = config, seed
        self._judge: CodeJudge | None = None
        self._threads = ThreadPoolExecutor(config.judge.workers, thread_name_prefix="faulty-tests")

    def __enter__(self) -> "_Runner":
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._judge is not None:
            self._judge.close()

    def work(self, stream: Iterator[Item]) -> Iterator[list[dict[str, Any]] | None]:
        """Faulty tests of each item; None where there are too few solutions to tell."""
        waiting: deque[Future[list[dict[str, Any]] | None] | None] = deque()
        for item in stream:
            waiting.append(self._begin(item))
            while len(waiting) > 4 * self._config.judge.workers:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())

    def _begin(self, item: Item) -> Future[list[dict[str, Any]] | None] | None:
        problem = item.record
        if not isinstance(problem, Problem) or problem.ability != "code":
            return _ready([])
        try:
            suite = read_suite(problem.ground_truth)
        except BadTestsError as error:
            raise UserError(f"problem {problem.id}: its tests {error}; put the step min_tests before") from None
        sources = _solutions(problem, self._config.solutions)
        if len(sources) < self._config.agree:
            return None
        if self._judge is None:
            limits = Limits(seconds=self._config.judge.test_seconds)
            self._judge = CodeJudge(self._config.judge.workers, limits=limits, seed=self._seed)
        return self._threads.submit(self._find, self._judge.run, suite, sources)

    def _find(
        self, run: Callable[[str, Suite], list[Execution]], suite: Suite, sources: Sequence[str]
    ) -> list[dict[str, Any]]:
        runs = [run(source, suite) for source in sources]
        return [asdict(each) for each in contradicted(suite, runs, self._config.agree)]


def _solutions(problem: Problem, key: str) -> list[str]:
    told = problem.extra.get(key) or []
    texts = [told] if isinstance(told, str) else told
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"problem {problem.id}: '{key}' is not a program nor a list of programs")
    return list(dict.fromkeys(extract_code(text) or text for text in texts))  # a copy is no second witness


def _ready(value: list[dict[str, Any]]) -> Future[list[dict[str, Any]] | None]:
    future: Future[list[dict[str, Any]] | None] = Future()
    future.set_result(value)
    return future


def _result(future: Future[list[dict[str, Any]] | None] | None) -> list[dict[str, Any]] | None:
    return None if future is None else future.result()
