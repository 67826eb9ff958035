"""Every hostile answer is decided or timed out in time and memory, wherever the judge is called from."""

import asyncio
import json
import os
import resource
import signal
import threading
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from hostile_answers import HOSTILE

from gppo.types import Verdict
from gppo.verify import JudgePool
from gppo.verify.judge import answer_pair
from gppo.verify.math import verify

DATA = Path(os.environ.get("GPPO_DATA", Path(__file__).parents[3] / "shared" / "data"))
LIMIT = 1.0  # the default, 2 s, is what the tests below that call verify take
GRACE = 1.5  # a busy machine; the kill itself takes milliseconds
MEMORY = 1 << 30
RIGHT_ANSWER = (r"\int_0^1 2x \, dx", "1")  # needs a worker
ENDLESS = ("1", r"9^{9^{9^{9}}}")


@pytest.fixture(scope="module")
def pool():
    with JudgePool(workers=2, timeout=LIMIT, memory_limit=MEMORY) as pool:
        yield pool


@pytest.fixture(scope="module")
def verdicts(pool):
    return dict(zip(HOSTILE, pool.judge_many(HOSTILE.values()), strict=True))


def assert_held(verdict: Verdict, *more: str) -> None:
    assert verdict.status in ("wrong", "unparsable", "timeout", *more), verdict
    assert verdict.seconds < LIMIT + GRACE, verdict
    assert verdict.rule, verdict


def test_there_are_many():
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers(verdicts, name):
    assert_held(verdicts[name])


def test_the_judge_lives_on_within_its_memory(pool, verdicts):
    assert pool.judge(*RIGHT_ANSWER).correct
    for worker in pool._live:
        assert psutil.Process(worker.process.pid).memory_info().rss <= MEMORY
        assert resource.prlimit(worker.process.pid, resource.RLIMIT_AS) == (MEMORY, MEMORY)


@pytest.mark.slow
def test_adversarial_answers_of_the_data_set(pool):
    path = DATA / "verifier_adversarial_dev.jsonl"
    if not path.exists():
        pytest.skip(f"needs hostile answers at {path} (set GPPO_DATA)")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [answer_pair(r["gold"], r["pred"], False, lenient) for r in records for lenient in (False, True)]
    for verdict in pool.imap(list(dict.fromkeys(pairs))):
        assert_held(verdict, "correct")  # the last of many boxes is right


def test_from_many_threads_at_once():
    verdicts: list[Verdict] = []

    def ask(number: int) -> None:
        verdicts.append(verify(*([ENDLESS[0], rf"\boxed{{{ENDLESS[1]}}}"] if number % 2 else ["4", r"\boxed{2^2}"])))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(verdict.status for verdict in verdicts) == ["correct"] * 3 + ["timeout"] * 3


def test_from_asyncio():
    async def both() -> list[Verdict]:
        hostile = asyncio.to_thread(verify, ENDLESS[0], rf"\boxed{{{ENDLESS[1]}}}")
        kind = asyncio.to_thread(verify, "4", r"\boxed{\int_0^2 2x \, dx}")
        return [*await asyncio.gather(hostile, kind), verify("4", r"\boxed{4}")]

    assert [verdict.status for verdict in asyncio.run(both())] == ["timeout", "correct", "correct"]


def test_the_callers_alarm_still_rings_and_its_handler_is_its_own():
    rang: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rang.append(number))
    try:
        handler = signal.getsignal(signal.SIGALRM)
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        assert verify(ENDLESS[0], rf"\boxed{{{ENDLESS[1]}}}").status == "timeout"  # it rings meanwhile
        assert rang == [signal.SIGALRM]
        signal.alarm(3600)
        assert verify("3", r"\boxed{\int_0^1 6x \, dx}").correct
        assert signal.getsignal(signal.SIGALRM) is handler
        assert signal.alarm(0) > 3500
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.skipif(
    find_spec("gmpy2") is None, reason="gmpy2 is not installed; docs/math_judging.md says how to run this"
)
def test_sympy_and_mpmath_use_gmpy2_here(pool):
    """So the other tests of this file show that arithmetic which no signal can stop is stopped all the same."""
    from mpmath.libmp import BACKEND

    assert BACKEND == "gmpy"
    assert pool.judge(*ENDLESS).status == "timeout"
