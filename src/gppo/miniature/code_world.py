"""Small programs to write: a seeded world of code problems for a character-level student.

Every problem asks for one Python function ``f`` of one line. A statement has at most 70 ASCII characters, a solution at
most 80. Difficulty 1 is one operation on a number or a list, 2 composes two, 3 has a condition. Each problem also has a
misconception: a systematic error ("greater than 3" read as ``>=``, a range that stops too early, rounding toward zero)
that passes half of the tests, so the share of tests passed is a soft reward.

Tests follow LiveCodeBench's functional convention: an input is one JSON argument a line, an output is the JSON of the
result. Expected outputs are computed by running the solution in this process: its text is made here, never by a model.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any

from gppo.types import GppoError, Problem, UserError

_DRAWS_PER_TEST = 200

_Arguments = tuple[Any, ...]
_Draw = Callable[[random.Random], _Arguments]
_Number = Callable[[random.Random], int]


@dataclass(frozen=True, slots=True)
class CodeProblem:
    """A statement with its solution, its misconception and its tests.

    Args:
        id: unique for one seed.
        statement: what is asked, at most 70 ASCII characters.
        solution: source of a right ``f``, at most 80 characters.
        misconception: source of an ``f`` that is wrong in a systematic way and right on some tests.
        inputs: one JSON argument a line, for each test.
        outputs: JSON of the expected result, for each test.
        faulty_tests: positions of the tests whose expected output is wrong on purpose.
        difficulty: 1, 2 or 3.
        family: the template that the problem was made from.
    """

    id: str
    statement: str
    solution: str
    misconception: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    faulty_tests: tuple[int, ...]
    difficulty: int
    family: str


def code_problems(
    seed: int,
    count: int,
    *,
    difficulties: Sequence[int] = (1, 2, 3),
    tests: int = 16,
    faulty_share: float = 0.0,
) -> list[CodeProblem]:
    """The first ``count`` problems of a seed: no two with the same statement, difficulties in turn.

    A longer list of the same seed begins with the shorter one, so slices of one list are disjoint sets.

    Args:
        seed: decides which problems come in which order, and their tests.
        count: how many.
        difficulties: which of 1, 2, 3, taken in turn; one that stands twice comes twice as often.
        tests: tests for each problem, at least 16 so that a pass rate has steps fine enough to learn from.
        faulty_share: chance of each test, on its own, to expect a wrong output.

    Raises:
        UserError: the world has fewer problems of one difficulty, ``tests`` is below 16, or a difficulty is unknown.
    """
    if tests < 16:
        raise UserError(f"code_problems: tests is {tests}; give at least 16")
    if not difficulties or set(difficulties) - {1, 2, 3}:
        raise UserError(f"code_problems: difficulties are {list(difficulties)}; choose some of 1, 2 and 3")
    pools = {d: [spec for spec in _specs() if spec.difficulty == d] for d in set(difficulties)}
    for difficulty, pool in pools.items():
        random.Random(f"{seed}/order/{difficulty}").shuffle(pool)
    problems: list[CodeProblem] = []
    for index in range(count):
        difficulty = difficulties[index % len(difficulties)]
        if not pools[difficulty]:
            raise UserError(
                f"code_problems: count is {count}, but the problems of difficulty {difficulty} are used up after "
                f"{index}; ask for at most {index}"
            )
        problems.append(_build(f"code-{seed}-{index}", pools[difficulty].pop(), seed, tests, faulty_share))
    return problems


def to_problem(problem: CodeProblem) -> Problem:
    """The record that curation, SFT and RL read; ``ground_truth`` is the JSON of the tests."""
    ground_truth = {"inputs": list(problem.inputs), "outputs": list(problem.outputs), "fn_name": "f"}
    return Problem(
        id=problem.id,
        prompt=({"role": "user", "content": problem.statement},),
        ability="code",
        ground_truth=json.dumps(ground_truth),
        data_source="miniature/code",
        extra={
            "difficulty": f"code {problem.difficulty}",
            "family": problem.family,
            "solution": problem.solution,
            "misconception": problem.misconception,
            "faulty_tests": list(problem.faulty_tests),
        },
    )


def results_of(source: str, inputs: Sequence[str]) -> tuple[str, ...]:
    """JSON of what a program of this world returns for each input.

    It runs in this process, so ``source`` must be text that was made here, never a model's.
    """
    function = _function(source)
    return tuple(json.dumps(function(*map(json.loads, given.split("\n")))) for given in inputs)


@dataclass(frozen=True, slots=True)
class _Spec:
    """A problem before its tests are drawn; ``right`` and ``wrong`` are expressions in the parameters."""

    family: str
    difficulty: int
    parameters: str
    ask: str
    right: str
    wrong: str
    draw: _Draw

    def source(self, expression: str) -> str:
        return f"def f({self.parameters}): return {expression}"


def _build(id_: str, spec: _Spec, seed: int, tests: int, faulty_share: float) -> CodeProblem:
    solution, misconception = spec.source(spec.right), spec.source(spec.wrong)
    rng = random.Random(f"{seed}/tests/{spec.ask}")
    drawn = _draw_tests(rng, spec, tests)
    faulty = tuple(i for i in range(tests) if rng.random() < faulty_share)
    outputs = [_spoiled(rng, output) if i in faulty else output for i, (_, output) in enumerate(drawn)]
    return CodeProblem(
        id=id_,
        statement=f"f({spec.parameters}): {spec.ask}",
        solution=solution,
        misconception=misconception,
        inputs=tuple("\n".join(json.dumps(value) for value in arguments) for arguments, _ in drawn),
        outputs=tuple(json.dumps(output) for output in outputs),
        faulty_tests=faulty,
        difficulty=spec.difficulty,
        family=spec.family,
    )


def _draw_tests(rng: random.Random, spec: _Spec, tests: int) -> list[tuple[_Arguments, Any]]:
    """Different inputs; the misconception is wrong on half, and no output is expected by more than half."""
    right, wrong = _function(spec.source(spec.right)), _function(spec.source(spec.wrong))
    half = tests // 2
    room = {True: tests - half, False: half}
    drawn: dict[str, tuple[_Arguments, Any]] = {}
    outputs: Counter[str] = Counter()
    for _ in range(_DRAWS_PER_TEST * tests):
        arguments = spec.draw(rng)
        key, output = json.dumps(arguments), right(*arguments)
        agrees = output == wrong(*arguments)
        if room[agrees] and key not in drawn and outputs[json.dumps(output)] < half:
            drawn[key] = (arguments, output)
            outputs[json.dumps(output)] += 1
            room[agrees] -= 1
        if len(drawn) == tests:
            found = list(drawn.values())
            rng.shuffle(found)
            return found
    raise GppoError(f"code world: no {tests} good tests for {spec.ask!r}; ask for fewer tests")


def _function(source: str) -> Callable[..., Any]:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    function: Callable[..., Any] = namespace["f"]
    return function


def _spoiled(rng: random.Random, output: Any) -> Any:
    """A wrong output of the same kind: a number, or one item of a list, off by one to three."""
    off = rng.choice([-3, -2, -1, 1, 2, 3])
    if isinstance(output, list):
        at = rng.randrange(len(output))
        return [value + off if i == at else value for i, value in enumerate(output)]
    return output + off


@dataclass(frozen=True, slots=True)
class _Condition:
    """A condition on ``v`` in words and in Python, how it is misread, and numbers that tell the two apart."""

    words: str
    right: str
    wrong: str
    number: _Number

    def spec(self, family: str, difficulty: int, ask: str, expression: str, draw: _Draw, of: str = "a") -> _Spec:
        """The problem in which this condition stands for every "@"."""
        right, wrong = expression.replace("@", self.right), expression.replace("@", self.wrong)
        return _Spec(family, difficulty, of, ask.replace("@", self.words), right, wrong, draw)


def _conditions() -> Iterator[_Condition]:
    for k in range(1, 21):
        near = _near(k)
        yield _Condition(f"greater than {k}", f"v>{k}", f"v>={k}", near)
        yield _Condition(f"at least {k}", f"v>={k}", f"v>{k}", near)
        yield _Condition(f"less than {k}", f"v<{k}", f"v<={k}", near)
        yield _Condition(f"at most {k}", f"v<={k}", f"v<{k}", near)
    for m in range(2, 10):
        yield _Condition(f"divisible by {m}", f"v%{m}==0", f"v%{m}==0<v", _multiples(m))


def _specs() -> Iterator[_Spec]:
    """Every problem of this world, without tests."""
    yield from _one_operation()
    yield from _two_operations()
    yield from _with_a_condition()


def _one_operation() -> Iterator[_Spec]:
    for c in _conditions():
        yield c.spec("count", 1, "count the items @", "sum(@ for v in a)", _list(c.number))
    for start in range(30):
        for step in range(2, 10):
            ask = f"add the numbers from {start} to n in steps of {step}"
            numbers = (f"sum(range({start},n+1,{step}))", f"sum(range({start},n,{step}))")
            yield _Spec("steps", 1, "n", ask, *numbers, _number(start - 3, start + 12 * step))
    for k in range(2, 8):
        items = _list(_within(-9, 9), k - 1, k + 2)
        yield _Spec("first", 1, "a", f"add the first {k} items", f"sum(a[:{k}])", f"sum(a[:{k + 1}])", items)
        yield _Spec("last", 1, "a", f"add the last {k} items", f"sum(a[-{k}:])", f"sum(a[-{k + 1}:])", items)
    for k in range(60):
        near = _number(k - 20, k + 20)
        yield _Spec("at most", 1, "n", f"n, but at most {k}", f"min(n,{k})", f"min(n,{k - 1})", near)
        yield _Spec("at least", 1, "n", f"n, but at least {k}", f"max(n,{k})", f"max(n,{k + 1})", near)
    for m in range(2, 20):
        ask = f"divide n by {m}, rounding down"
        yield _Spec("divide", 1, "n", ask, f"n//{m}", f"int(n/{m})", _number(-9 * m, 9 * m))


def _two_operations() -> Iterator[_Spec]:
    for c in _conditions():
        for what, term in (("items", "v"), ("squares of items", "v*v"), ("doubles of items", "2*v")):
            yield c.spec("filter and add", 2, f"add the {what} @", f"sum({term} for v in a if @)", _list(c.number))
    for m in range(2, 20):
        for k in range(3, 20):
            if gcd(m, k) == 1 and m < k:  # otherwise few different remainders exist, or the misconception has one only
                ask = f"multiply n by {m}, then take the remainder by {k}"
                yield _Spec("multiply, remainder", 2, "n", ask, f"n*{m}%{k}", f"n%{k}*{m}", _number(0, 60))
            if m < 10 and m % k and k % m:
                ask = f"add {k} to n, then divide by {m}, rounding down"
                wrong = f"n//{m}+{k // m}" if k > m else f"n//{m}"
                yield _Spec("add, divide", 2, "n", ask, f"(n+{k})//{m}", wrong, _number(0, 99))
    for k in range(2, 7):
        items = _list(_within(-4, 4), k, k + 3)
        for which, part in (("smallest", f"[:{k}]"), ("largest", f"[-{k}:]")):
            sums = (f"sum(sorted(a){part})", f"sum(sorted(set(a)){part})")
            yield _Spec(f"{which} items", 2, "a", f"add the {k} {which} items", *sums, items)


def _with_a_condition() -> Iterator[_Spec]:
    for c in _conditions():
        items = _list(c.number)
        yield c.spec("change each", 3, "double each item @", "[2*v if @ else v for v in a]", items)
        yield c.spec("change each", 3, "negate each item @", "[-v if @ else v for v in a]", items)
        yield c.spec("add or subtract", 3, "add items @, subtract the others", "sum(v if @ else -v for v in a)", items)
        two = _pair(c.number, _within(2, 20))
        yield c.spec("two numbers", 3, "v plus w if v is @, else w", "v+w if @ else w", two, of="v,w")
        yield c.spec("two numbers", 3, "v minus w if v is @, else w", "v-w if @ else w", two, of="v,w")
    for k in range(2, 8):
        choices = (f"sum(a) if len(a)>{k} else max(a)", f"sum(a) if len(a)>={k} else max(a)")
        ask = f"the sum if a has more than {k} items, else the largest"
        yield _Spec("sum or largest", 3, "a", ask, *choices, _list(_within(-9, 9), k - 1, k + 2))


def _near(k: int) -> _Number:
    """Numbers around k, every third one k itself or next to it."""
    return lambda rng: rng.choice((k - 1, k, k, k + 1)) if rng.random() < 0.35 else rng.randint(k - 8, k + 8)


def _multiples(m: int) -> _Number:
    """Multiples of m in every second, above and below zero."""
    return lambda rng: m * rng.randint(-4, 4) if rng.random() < 0.5 else rng.randint(-4 * m, 4 * m)


def _within(low: int, high: int) -> _Number:
    return lambda rng: rng.randint(low, high)


def _number(low: int, high: int) -> _Draw:
    return lambda rng: (rng.randint(low, high),)


def _list(number: _Number, shortest: int = 1, longest: int = 5) -> _Draw:
    return lambda rng: ([number(rng) for _ in range(rng.randint(shortest, longest))],)


def _pair(first: _Number, second: _Number) -> _Draw:
    return lambda rng: (first(rng), second(rng))
