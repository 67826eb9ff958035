import json
import subprocess
import sys
import threading
import time
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest

from gppo.config.rl import OverlongConfig, RewardConfig
from gppo.miniature.code_world import code_problems, to_problem
from gppo.rl.rewards import reward_parts
from gppo.sandbox import Limits, SandboxError
from gppo.types import Problem, Rollout, UserError
from gppo.verify.cases import CaseJudge
from gppo.verify.code import CodeJudge, CodeVerdict, read_suite

GOLDEN = [
    json.loads(line) for line in (Path(__file__).parent / "data" / "lcb_comparison.jsonl").read_text().splitlines()
]
ADD = {"inputs": ["1 2\n", "3 4"], "outputs": ["3", "7\n"], "fn_name": None}
DOUBLE = {"inputs": ["1", "[1]", '"a"'], "outputs": ["2", "[1, 1]", '"aa"'], "fn_name": "f"}
ASSERTS = {"asserts": ["assert f(1) == 2", "for i in range(3):\n    assert f(i) == i + 1"], "names": ["f"]}


def problem(tests=ADD, name="p", ability="code"):
    return Problem(name, ({"role": "user", "content": "?"},), ability, json.dumps(tests))


def rollout(text):
    ids = np.arange(1, 6)
    return Rollout("p", 0, np.array([9]), ids, -0.1 * ids.astype(np.float32), text, "stop")


def fenced(code):
    return f"<think>hm</think>So:\n```python\n{code}\n```\n"


@pytest.mark.parametrize(
    ("tests", "code", "cases"),
    [
        (ADD, "print(sum(map(int, input().split())))", ("PASS", "PASS")),
        (ADD, "print(3)", ("PASS", "WA")),
        (ADD, "import sys\nprint(3)\nsys.exit(1)", ("RE", "RE")),
        (ADD, "import sys\nprint(3)\nsys.exit(0)", ("PASS", "WA")),
        (ADD, "print(1 / 0)", ("RE", "RE")),
        (ADD, "print(", ("CE", "CE")),
        (ADD, "a, b = map(int, input().split())\nif a == 3:\n    while True: pass\nprint(a + b)", ("PASS", "TLE")),
        (ADD, "while True: print('x' * 65536)", ("OLE", "OLE")),
        (ADD, "x = bytearray(1 << 33)", ("MLE", "MLE")),
        (ADD, "import os\nos.write(1, b'3')", ("PASS", "WA")),
        (ADD, "import atexit\natexit.register(print, 3)", ("PASS", "WA")),
        (ADD, "if __name__ == '__main__':\n    print(open(0).read().count(' ') + 2)", ("PASS", "WA")),
        (DOUBLE, "def f(x):\n    print('noise')\n    return x * 2", ("PASS", "PASS", "PASS")),
        (DOUBLE, "class Solution:\n    def f(self, x: List[int]):\n        return x * 2", ("PASS", "PASS", "PASS")),
        (DOUBLE, "from __future__ import annotations\ndef f(x): return x + x", ("PASS", "PASS", "PASS")),
        (DOUBLE, "def f(x): return x + 1", ("PASS", "RE", "RE")),
        (DOUBLE, "def g(x): return x * 2", ("RE", "RE", "RE")),
        (DOUBLE, "def f(x) return x", ("CE", "CE", "CE")),
        (ASSERTS, "def f(x): return x + 1", ("PASS", "PASS")),
        (ASSERTS, "def f(x): return 2", ("PASS", "WA")),
        (ASSERTS, "import os\ndef f(x): os._exit(0)", ("RE", "RE")),
        (ASSERTS, "def f(x: print(", ("CE", "CE")),
    ],
)
def test_the_verdict_of_each_test(judge, tests, code, cases):
    assert judge.check(code, read_suite(tests)).cases == cases


def test_what_overrides_equality_or_lies_about_its_type_passes_nothing(judge):
    yes = "class Yes:\n    def __eq__(self, other): return True\n    def __bool__(self): return True\n"
    subclasses = (
        "class L(list):\n    def __eq__(self, o): return True\n    def __len__(self): return 2\n"
        "class I(int):\n    def __eq__(self, o): return True\n    __hash__ = int.__hash__\n"
    )
    for code in (
        yes + "def f(x): return Yes()",
        subclasses + "def f(x): return L([0])",
        subclasses + "def f(x): return I(77)",
        "def f(x): raise SystemExit(0)",
        "def f(x): return (i for i in [x])",
    ):
        assert "PASS" not in judge.check(code, read_suite(DOUBLE)).cases
        assert "PASS" not in judge.check(code, read_suite(ASSERTS)).cases


def test_lcb_mode_runs_as_livecodebench_does(judge, lcb_judge):
    def both(code, tests=ADD):
        return tuple(one.check(code, read_suite(tests)).cases[0] for one in (judge, lcb_judge))

    assert both("import sys\nprint(3)\nsys.exit(1)") == ("RE", "PASS")  # any exit ends the body
    assert both("import os\nos.write(1, b'3')") == ("PASS", "WA")  # not seen
    assert both("import atexit\natexit.register(print, 3)") == ("PASS", "WA")
    assert both("import sys\nsys.stdout.buffer.write(b'3')") == ("PASS", "RE")
    assert both("n = 3\ndef f():\n    global n\n    n += 0\n    print(n)\nf()") == ("PASS", "RE")  # a body, no module
    assert both("print(int(gcd(6, 9)))") == ("RE", "PASS")  # imports for everybody
    assert both("if __name__ == '__main__':\n    print(3)") == ("PASS", "PASS")
    assert both("import sys\nprint(sum(map(int, sys.stdin.readline().split())))") == ("PASS", "PASS")
    assert both("import sys\nprint(sum(map(int, sys.stdin.read().split())))") == ("PASS", "PASS")
    assert both("print(sum(map(int, open(0).read().split())))") == ("PASS", "WA")
    assert both("print(") == ("CE", "CE")
    assert both("def f(x): return ((1,), 2)", {"inputs": ["1"], "outputs": ["[[1], 2]"], "fn_name": "f"}) == (
        "PASS",
        "WA",
    )


@pytest.mark.parametrize(
    ("returns", "expected", "case"),
    [
        ("deque([1])", "[1]", "WA"),
        ("range(1)", "[0]", "WA"),
        ("(i for i in [1])", "[1]", "WA"),
        ("__import__('fractions').Fraction(1, 2)", "0.5", "PASS"),
        ("[__import__('decimal').Decimal('1e30')]", "[1000000000000000000000000000000]", "PASS"),
        ("__import__('decimal').Decimal('0.1')", "0.1", "WA"),
        ("Counter('aab')", '{"a": 2, "b": 1}', "PASS"),
        ("defaultdict(int)", "{}", "PASS"),
        ("__import__('collections').namedtuple('N', 'a b')(1, [2])", "[1, [2]]", "PASS"),
        ("1 + 0j", "1", "PASS"),
        ("b'a'", '"a"', "WA"),
        ("{1}", "[1]", "WA"),
        ("object()", "null", "WA"),
        ("float('nan')", "NaN", "WA"),
    ],
)
def test_lcb_mode_compares_objects_of_every_kind_as_livecodebench_does(lcb_judge, returns, expected, case):
    suite = read_suite({"inputs": ["1"], "outputs": [expected], "fn_name": "f"})
    assert lcb_judge.check(f"def f(x): return {returns}", suite).cases == (case,)
    assert lcb_judge.check(f"class Solution:\n  def f(self, x): return {returns}", suite).cases == (case,)


def test_line_ends_and_half_surrogates_reach_the_program_and_the_comparison(judge, lcb_judge):
    show = "import sys\nsys.stdout.write(repr(sys.stdin.read()))"
    suite = read_suite({"inputs": ["a\r\nb"], "outputs": [repr("a\r\nb")]})
    assert lcb_judge.check(show, suite).cases == ("PASS",)  # as given, in one process
    assert judge.check(show, suite).cases == ("WA",)  # as Python reads a text file
    half = read_suite({"inputs": [""], "outputs": ["\ud800"]})
    assert lcb_judge.check("print(chr(0xd800))", half).cases == ("PASS",)
    assert judge.check("print(chr(0xd800))", half).cases == ("RE",)  # a terminal takes no half


def test_recorded_verdicts_hold_through_the_sandbox(lcb_judge):
    def job(row):
        tests = {"inputs": [""], "outputs": [row["expected"]]}
        if row["mode"] == "stdin":
            return f"import sys\nsys.stdout.write({row['output']!r})", read_suite(tests)
        return f"def f(): return {row['returns']}", read_suite(tests | {"fn_name": "f"})

    futures = [lcb_judge.submit_program(*job(row)) for row in GOLDEN]
    assert [future.result().correct for future in futures] == [row["lcb"] for row in GOLDEN]


def test_a_response_is_judged_by_its_last_block_after_thinking(judge):
    right, wrong = "print(sum(map(int, input().split())))", "print(0)"
    responses = [
        fenced(right),
        f"```\n{wrong}\n```\n```\n{right}\n```",
        f"<think>```\n{right}\n```</think>```\n{wrong}\n```",
        f"<think>```\n{right}\n```",
        f"<think>```\n{right}\n```</think> done",
        f"```\n{right}\n```\n<think> again",
        "no code",
    ]
    found = judge.judge(problem(), responses)
    assert [v.status for v in found] == ["correct", "correct", "wrong", *["unparsable"] * 4]
    assert [v.score for v in found] == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert found[0].extracted == right + "\n"
    assert found[0].cases == ("PASS", "PASS")
    assert judge.judge(problem(), [f"```\n{right}\n```"], prompt_opened=True)[0].status == "unparsable"


def test_rewards_follow_the_share_of_tests(judge):
    verdict = judge.judge(problem(), [fenced("print(3)")])[0]
    assert (verdict.status, verdict.score) == ("wrong", 0.5)
    assert verdict.rule.startswith("1 of 2 tests passed, 1 WA")
    for kind, reward in (("pass_rate", 0.5), ("signed", 0.0), ("all_or_nothing", 0.0)):
        config = RewardConfig.model_validate({"code": kind})
        parts = reward_parts(
            problem(), rollout(fenced("print(3)")), verdict, config, OverlongConfig(), prompt_opened=False,
            max_response_tokens=99,
        )  # fmt: skip
        assert parts["task"] == reward


@pytest.mark.parametrize(
    ("cases", "status", "score"),
    [
        (("PASS", "PASS"), "correct", 1.0),
        (("PASS", "TLE"), "timeout", 0.5),
        (("WA", "TLE"), "wrong", 0.0),
        (("CE", "CE"), "wrong", 0.0),
        (("PASS", "INFRA"), "infra", 0.5),
    ],
)
def test_status_of_cases(cases, status, score):
    verdict = CodeVerdict(cases, ("",) * len(cases))
    assert (verdict.status, verdict.score) == (status, score)


def test_every_response_to_a_problem_meets_the_same_tests(isolation):
    numbers = [str(i) for i in range(40)]
    tests = {"inputs": numbers, "outputs": [str(int(n) % 2) for n in numbers], "fn_name": "f"}
    with CodeJudge(tests_per_problem=8, seed=3) as judge:
        found = judge.judge(problem(tests), [fenced("def f(n): return 0")] * 3)
        other = judge.judge(problem(tests, "q"), [fenced("def f(n): return 0")])
    assert [len(v.cases) for v in found] == [8, 8, 8]
    assert found[0].cases == found[1].cases == found[2].cases
    assert other[0].cases != found[0].cases


def test_unusable_tests_are_one_sentence(judge):
    for tests in ({"inputs": [], "outputs": []}, {"inputs": ["1"], "outputs": []}, "nonsense"):
        with pytest.raises(UserError, match="Problem 'p' cannot be judged: its tests"):
            judge.judge(problem(tests), [fenced("print(3)")])
    with pytest.raises(UserError, match="workers"):
        CodeJudge(workers=0)


def test_an_endless_stream_is_judged_in_order(judge):
    cases = ((problem(), fenced(f"print({3 if i % 2 else 4})"), False) for i in count())
    found = [v.cases[0] for v in islice(judge.imap(cases), 30)]
    assert found == ["WA", "PASS"] * 15


def test_the_queue_is_bounded_and_callers_wait(isolation):
    slow = "import time\ntime.sleep(0.15)\nprint(3)"
    sent = []
    with CodeJudge(workers=1, limits=Limits(seconds=5)) as judge:

        def send():
            for i in range(8):
                sent.append(judge.submit(problem(), fenced(f"{slow} # {i}")))

        sender = threading.Thread(target=send)
        sender.start()
        sent_when_the_first_was_done = None
        while sent_when_the_first_was_done is None:
            if sent:
                sent[0].result()
                sent_when_the_first_was_done = len(sent)
        sender.join()
        assert sent_when_the_first_was_done < 8
        assert [future.result().cases for future in sent] == [("PASS", "WA")] * 8


def test_a_caller_who_is_decoding_does_not_wait(isolation):
    slow = "import time\ntime.sleep(0.3)\nprint({})"
    with CodeJudge(workers=1, limits=Limits(seconds=5)) as judge:
        sent = [judge.submit(problem(), fenced(slow.format(i)), wait=False) for i in range(12)]
        assert not sent[-1].done()  # twelve programs take 7 s, handing them over a moment
        assert [future.result().cases for future in sent[:4]] == [
            ("WA", "WA"),
            ("WA", "WA"),
            ("WA", "WA"),
            ("PASS", "WA"),
        ]


def test_equal_programs_for_a_problem_run_once(isolation):
    """Members of a group often write the same program; a program for another problem is another one."""
    noisy = "import random\nprint(random.SystemRandom().random())"
    with CodeJudge(workers=2) as judge:
        first = judge.submit(problem(), fenced(noisy), wait=False)
        assert judge.submit(problem(), f"<think>other words</think>```\n{noisy}\n```", wait=False) is first
        assert judge.submit(problem(name="q"), fenced(noisy), wait=False) is not first
        assert judge.submit(problem(DOUBLE), fenced(noisy), wait=False) is not first
        first.result()
        assert judge.submit(problem(), fenced(noisy), wait=False) is first


def test_a_verdict_that_may_be_the_machines_fault_is_not_kept(isolation):
    slow = "import time\nprint(3)\ntime.sleep(9)"
    with CodeJudge(workers=1, limits=Limits(seconds=0.2)) as judge:
        first = judge.submit(problem(), fenced(slow))
        assert first.result().cases == ("TLE", "TLE")
        second = judge.submit(problem(), fenced(slow))
        assert second is not first
        assert second.result().cases == ("TLE", "TLE")


def test_closing_ends_what_runs(isolation):
    endless = "while True: pass"
    judge = CodeJudge(workers=1, limits=Limits(seconds=250))
    with judge:
        running = judge.submit(problem(), fenced(endless), wait=False)
        waiting = judge.submit(problem(), fenced(endless + " "), wait=False)
        while not running.running():
            time.sleep(0.01)
        time.sleep(0.2)
    assert waiting.cancelled()
    with pytest.raises(SandboxError, match="closed"):
        running.result()


def test_cases_of_both_abilities_go_to_their_judges(isolation):
    math = Problem("m", ({"role": "user", "content": "?"},), "math", "7")
    cases = [
        (problem(), rollout(fenced("print(3)")), False),
        (math, rollout("\\boxed{7}"), False),
        (problem(), rollout("```\nprint(3)\n```"), True),
        (math, rollout("\\boxed{8}"), False),
    ]
    with CaseJudge(seed=1) as judge:
        assert [v.status for v in judge(cases)] == ["wrong", "correct", "unparsable", "wrong"]
        sent = [judge.submit(p, r, opened) for p, r, opened in cases]
        assert [future.result().status for future in sent] == ["wrong", "correct", "unparsable", "wrong"]
        with pytest.raises(UserError, match="ability 'art'"):
            judge([(problem(ability="art"), rollout(""), False)])
        with pytest.raises(UserError, match="ability 'art'"):
            judge.submit(problem(ability="art"), rollout(""), False)


def test_math_alone_starts_no_sandbox():
    code = (
        "import sys\nfrom gppo.verify.cases import CaseJudge\n"
        "with CaseJudge() as judge: judge([])\n"
        "print([m for m in ('torch', 'gppo.sandbox', 'gppo.verify.code') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_judging_code_loads_no_torch():
    code = "import sys\nimport gppo.verify.code\nprint('torch' in sys.modules, 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False False\n"


def test_the_miniature_is_judged_as_it_was_made(judge):
    """Every solution passes; every misconception passes some tests and fails some."""
    problems = code_problems(seed=5, count=30)
    solutions = [(to_problem(p), fenced(p.solution), False) for p in problems]
    misconceptions = [(to_problem(p), fenced(p.misconception), False) for p in problems]
    assert [v.score for v in judge.imap(solutions)] == [1.0] * 30
    assert [v.score for v in judge.imap(misconceptions) if not 0 < v.score < 1] == []
