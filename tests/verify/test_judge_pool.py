import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from gppo.types import GppoError, UserError, Verdict
from gppo.verify import JudgePool

SYMBOLIC = (r"\int_0^1 2x \, dx", r"\frac{3}{3}")  # needs a worker


def symbolic(number: int) -> tuple[str, str]:
    """A right answer that needs a worker, another one for each number: decided pairs are remembered."""
    return rf"\int_0^1 {2 * number} x \, dx", str(number)


ENDLESS = ("1", r"9^{9^{9^{9}}}")
MEMORY = r"\left(2^{3000000000}\right)!"


def wait_until(condition, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def pool():
    with JudgePool(workers=2, timeout=3.0) as pool:
        yield pool


def test_statuses(pool):
    assert pool.judge(*SYMBOLIC).correct
    wrong = pool.judge(SYMBOLIC[0], r"\frac{3}{4}")
    assert (wrong.status, wrong.score, wrong.extracted, wrong.rule) == ("wrong", 0.0, r"\frac{3}{4}", "numeric value")
    assert pool.judge("x", r"\frac{").status == "unparsable"


def test_plain_answers_start_no_worker():
    with JudgePool() as pool:
        assert pool.judge("42", "42.0").correct
        assert not pool.judge("42", "43").correct
        assert not pool._live


def test_a_pair_is_decided_once_and_its_rule_kept():
    with JudgePool() as pool:
        first = pool.judge(*SYMBOLIC)
        (worker,) = pool._live
        worker.kill()
        again = pool.judge(*SYMBOLIC)
        assert (again.status, again.score, again.extracted, again.rule) == (
            first.status, first.score, first.extracted, "numeric value",
        )  # fmt: skip


def test_what_is_kept_is_bounded():
    with JudgePool() as pool:
        for number in range(9000):
            pool.judge("0", str(number))
        pool.judge("0", "1" * 600)
        assert len(pool._known) == 8192
        assert ("0", "8999") in pool._known
        assert not any(len(predicted) > 500 for _, predicted in pool._known)


def test_a_time_limit_is_not_kept():
    with JudgePool(timeout=1.0) as pool:
        assert pool.judge(*ENDLESS).status == "timeout"
        assert not pool._known


def test_order_is_kept_where_a_slow_answer_comes_first(pool):
    pairs = [ENDLESS, *((symbolic(i + i % 2)[0], symbolic(i)[1]) for i in range(40)), ("7", "7")]
    verdicts = pool.judge_many(pairs)
    expected = ["timeout", *("wrong" if i % 2 else "correct" for i in range(40)), "correct"]
    assert [verdict.status for verdict in verdicts] == expected


def test_verdicts_in_a_stream_keep_their_place(pool):
    known = Verdict("unparsable", 0.0)
    assert [v.status for v in pool.imap([SYMBOLIC, known, ("1", "2")])] == ["correct", "unparsable", "wrong"]


def test_a_stream_may_be_endless(pool):
    def pairs():
        number = 0
        while True:
            number += 1
            yield symbolic(number)

    stream = pool.imap(pairs())
    assert all(next(stream).correct for _ in range(50))
    stream.close()


def test_an_answer_that_hits_the_memory_limit_is_unparsable():
    with JudgePool(timeout=60.0, memory_limit=256 << 20) as pool:
        verdict = pool.judge("1", MEMORY)
        assert (verdict.status, verdict.rule) == ("unparsable", "memory limit")
        assert pool.judge(*SYMBOLIC).correct


def test_a_worker_killed_under_an_answer_is_replaced():
    with JudgePool(timeout=60.0) as pool:
        assert pool.judge(*SYMBOLIC).correct
        (worker,) = pool._live
        os.kill(worker.process.pid, signal.SIGSTOP)  # it takes the question and does not answer
        verdicts: list[Verdict] = []
        thread = threading.Thread(target=lambda: verdicts.append(pool.judge(*symbolic(7))))
        thread.start()
        wait_until(pool._idle.empty)
        os.kill(worker.process.pid, signal.SIGKILL)
        thread.join(60)
        assert [verdict.status for verdict in verdicts] == ["correct"]
        assert pool._live.isdisjoint({worker})


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_worker_that_its_answer_brings_down_is_unparsable_and_not_infra(number):
    with JudgePool(timeout=60.0) as pool:
        assert pool.judge(*SYMBOLIC).correct
        (worker,) = pool._live
        os.kill(worker.process.pid, signal.SIGSTOP)
        verdicts: list[Verdict] = []
        thread = threading.Thread(target=lambda: verdicts.append(pool.judge(*symbolic(8))))
        thread.start()
        wait_until(pool._idle.empty)
        os.kill(worker.process.pid, number)
        os.kill(worker.process.pid, signal.SIGCONT)
        thread.join(60)
        assert [(verdict.status, verdict.rule) for verdict in verdicts] == [("unparsable", "memory limit")]
        assert pool.judge(*symbolic(9)).correct


def test_a_worker_that_cannot_start_is_infra_and_not_wrong(monkeypatch):
    with JudgePool() as pool:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "/bin/false")
            verdict = pool.judge(*SYMBOLIC)
        assert (verdict.status, verdict.rule) == ("infra", "a worker ended with status 1")
        assert pool.judge(*SYMBOLIC).correct


def test_a_worker_outlives_the_thread_that_needed_it():
    with JudgePool() as pool:
        for number in range(2):
            thread = threading.Thread(target=pool.judge, args=symbolic(number))
            thread.start()
            thread.join()
        (worker,) = pool._live
        assert pool.judge(*SYMBOLIC).correct
        assert pool._live == {worker}
        assert worker.process.poll() is None


def test_the_callers_alarm_is_left_alone(pool):
    def handler(signum, frame):
        raise AssertionError("the alarm rang")

    before = signal.signal(signal.SIGALRM, handler)
    signal.alarm(3600)
    try:
        assert pool.judge(*SYMBOLIC).correct
        assert pool.judge(*ENDLESS).status == "timeout"
        assert signal.getsignal(signal.SIGALRM) is handler
        assert signal.alarm(0) > 0
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_close_ends_every_worker_and_wakes_those_who_wait():
    pool = JudgePool(workers=2, timeout=600.0)
    errors: list[GppoError] = []

    def wait_for_an_answer():
        try:
            pool.judge(*ENDLESS)
        except GppoError as error:
            errors.append(error)

    threads = [threading.Thread(target=wait_for_an_answer) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(pool._live) == 2)
    pids = [worker.process.pid for worker in pool._live]
    pool.close()
    pool.close()
    for thread in threads:
        thread.join(30)
    assert [str(error) for error in errors] == ["The judge pool is closed."] * 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    with pytest.raises(GppoError, match="closed"):
        pool.judge("1", "1")


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), signal.SIGKILL)", "sys.exit()"])
def test_workers_die_with_their_parent(ending):
    program = f"""
import os, signal, sys, threading, time
from gppo.verify import JudgePool
pool = JudgePool(workers=1, timeout=600)
assert pool.judge(*{SYMBOLIC}).correct
threading.Thread(target=pool.judge, args={ENDLESS}, daemon=True).start()
time.sleep(0.5)  # so that the worker is deep in arithmetic and reads nothing
print(*(worker.process.pid for worker in pool._live), flush=True)
{ending}
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    pids = [int(pid) for pid in run.stdout.split()]
    assert len(pids) == 1, run.stderr

    def gone(pid: int) -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE  # where no init reaps orphans
        except psutil.NoSuchProcess:
            return True

    wait_until(lambda: all(gone(pid) for pid in pids))


def test_stray_prints_do_no_harm(tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import os, threading, time\n"
        "def chatter():\n"
        "    while True:\n"
        "        print('{\"equal\": true}', flush=True)\n"
        "        os.write(1, b'\\0\\0\\0\\2{}')\n"
        "        time.sleep(0.001)\n"
        "threading.Thread(target=chatter, daemon=True).start()\n"
        "from pathlib import Path\n"
        f"Path({str(tmp_path / 'ran')!r}).touch()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with JudgePool() as pool:
        assert [v.status for v in pool.judge_many([symbolic(1), (symbolic(1)[0], "2")] * 20)] == [
            "correct",
            "wrong",
        ] * 20
    assert (tmp_path / "ran").exists()


def test_a_module_in_the_current_folder_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "sympy.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with JudgePool() as pool:
        assert pool.judge(*SYMBOLIC).correct


def test_a_fork_cannot_use_or_close_its_parents_pool():
    program = """
import os
from gppo.types import GppoError
from gppo.verify import JudgePool
with JudgePool() as pool:
    assert pool.judge(*PAIRS[0]).correct
    child = os.fork()
    if child == 0:
        pool.close()
        try:
            pool.judge(*PAIRS[0])
        except GppoError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    worker = next(iter(pool._live))
    assert pool.judge(*PAIRS[1]).correct and pool._live == {worker}
"""
    program = f"PAIRS = {[symbolic(1), symbolic(2)]}\n{program}"
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], timeout=120, check=True)


@pytest.mark.parametrize("arguments", [{"workers": 0}, {"timeout": 0.0}, {"memory_limit": 1}])
def test_senseless_settings_are_refused(arguments):
    with pytest.raises(UserError, match="judge pool needs"):
        JudgePool(**arguments)
