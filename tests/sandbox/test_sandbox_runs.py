# ruff: noqa: E501
"""What programs of the three kinds give back, the same at both levels."""

import threading

import pytest

from gppo.sandbox import Asserts, Function, Limits, Sandbox, SandboxError, Script, ValueRefusedError

LIST_AND_TREE = """
class Solution:
    def reverse(self, head: Optional["ListNode"]):
        last = None
        while head:
            head.next, last, head = last, head, head.next
        return last

    def invert(self, root):
        if root:
            root.left, root.right = self.invert(root.right), self.invert(root.left)
        return root

from typing import Optional
""".replace('Optional["ListNode"]', '"ListNode"')


def test_script_runs_once_for_each_input_in_order(sandbox):
    runs = sandbox.run(Script("print(int(input()) ** 2)", tuple(b"%d\n" % n for n in range(20))))
    assert [run.stdout for run in runs] == [b"%d\n" % n**2 for n in range(20)]
    assert {run.status for run in runs} == {"ok"}


def test_each_input_meets_a_fresh_process(sandbox):
    source = (
        "import builtins, json\nprint(hasattr(builtins, 'seen'), hasattr(json, 'seen'))\nbuiltins.seen = json.seen = 1"
    )
    assert {run.stdout for run in sandbox.run(Script(source, (b"",) * 3))} == {b"False False\n"}


def test_script_is_main_and_reads_like_a_process(sandbox):
    source = """
import sys
from dataclasses import dataclass

@dataclass
class Point:
    x: int

if __name__ == "__main__":
    sys.stdout.write(repr(Point(1)) + sys.stdin.buffer.read().decode() + str(len(sys.argv)))
"""
    assert sandbox.run(Script(source, (b" in ",)))[0].stdout == b"Point(x=1) in 1"


def test_modules_that_are_not_preloaded_can_be_imported(sandbox):
    source = "import subprocess, sqlite3, asyncio, difflib\nasyncio.run(asyncio.sleep(0))\nprint(difflib.ndiff)"
    assert sandbox.run(Script(source, (b"",)))[0].status == "ok"


def test_large_input_and_output(sandbox):
    data = bytes(range(256)) * 8000
    run = sandbox.run(Script("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read())", (data,)))[0]
    assert (run.status, run.stdout) == ("ok", data)


def test_error_names_the_exception_and_keeps_the_output(sandbox):
    run = sandbox.run(Script("print('so far')\n{}['k']", (b"",)))[0]
    assert (run.status, run.detail, run.stdout) == ("error", "KeyError: 'k'", b"so far\n")


def test_what_does_not_compile_is_not_run(sandbox):
    runs = sandbox.run(Script("print(1)\nprint(", (b"", b"")))
    assert [run.status for run in runs] == ["compile", "compile"]
    assert "SyntaxError" in runs[0].detail
    assert runs[0].stdout == b""


def test_function_returns_values_and_changed_arguments(sandbox):
    source = "class Solution:\n    def f(self, a, b):\n        a.append(b)\n        return {b: (a, {1.5})}"
    run = sandbox.run(Function(source, "f", (([1], "x"), ([], 2))))
    assert [r.value for r in run] == [{"x": ([1, "x"], {1.5})}, {2: ([2], {1.5})}]
    assert [r.arguments for r in run] == [([1, "x"], "x"), ([2], 2)]


def test_module_level_function_and_printing_do_not_mix(sandbox):
    run = sandbox.run(Function("def f(n):\n    print('noise')\n    return n + 1", "f", ((1,),)))[0]
    assert (run.value, run.stdout) == (2, b"noise\n")


@pytest.mark.parametrize(
    ("entry", "adapter", "given", "expected"),
    [
        ("reverse", "list", [1, 2, 3], [3, 2, 1]),
        ("reverse", "list", [], None),
        ("invert", "tree", [4, 2, 7, 1, None, 6], [4, 7, 2, None, 6, None, 1]),
        ("invert", "tree", [], None),
    ],
)
def test_lists_and_trees_go_by_value(sandbox, entry, adapter, given, expected):
    run = sandbox.run(Function(LIST_AND_TREE, entry, ((given,),), (adapter,)))[0]
    assert (run.status, run.value) == ("ok", expected), run.detail


def test_a_function_that_works_in_place_on_a_list(sandbox):
    source = "def f(nodes):\n    nodes.next = None"
    assert sandbox.run(Function(source, "f", (([1, 2],),), ("list",)))[0].arguments == ([1],)


def test_arguments_that_are_no_values_are_the_callers_mistake(sandbox):
    with pytest.raises(ValueRefusedError):
        sandbox.run(Function("def f(x): pass", "f", ((object(),),)))
    assert sandbox.run(Function("def f(x): return x", "f", ((1,),)))[0].value == 1


ASSERT_CASES = [
    ("def f(x): return x * 2", "import random\nfor _ in range(50):\n    n = random.randint(0, 99)\n    assert f(n) == 2 * n", True),
    ("def f(x): x.sort()", "a = [3, 1, 2]\nassert f(a) is None\nassert a == [1, 2, 3]", True),
    ("def f(d): d.pop('k')", "d = {'k': 1, 'm': 2}\nf(d=d)\nassert d == {'m': 2}", True),
    ("def f(s): s.add(9)", "s = {1}\nf(s)\nassert s == {1, 9}", True),
    ("def f(x): raise ValueError('no')", "try:\n    f(1)\nexcept ValueError as e:\n    assert str(e) == 'no'\nelse:\n    assert False", True),
    ("class Own(LookupError): pass\ndef f(x): raise Own", "try:\n    f(1)\nexcept LookupError:\n    pass", True),
    ("def f(x):\n    yield from range(x)", "assert list(f(3)) == [0, 1, 2]", True),
    ("def f(x): return x", "assert f(float('inf')) == float('inf')\nassert f((1, [2], {3: None})) == (1, [2], {3: None})", True),
    ("def f(x): return True", "assert f(1) is True", True),
    ("class f:\n    def __init__(self, n): self.n = n\n    def add(self, k):\n        self.n += k\n        return self.n", "c = f(5)\nassert c.add(2) == 7\nassert c.n == 7", True),
    ("def f(x): return x", "assert f(1) == 1\nassert f(2) == 3", False),
    ("def g(x): return x", "assert f(1) == 1", False),
    ("def f(head):\n    head.next = None\n    return head", "class ListNode:\n    def __init__(self, val, next=None): self.val, self.next = val, next\nh = ListNode(1, ListNode(2))\nassert f(h).val == 1\nassert h.next is None", True),
    ("def f(root): return root.left.val", "r = TreeNode(1)\nr.left = TreeNode(5)\nassert f(r) == 5", True),
]  # fmt: skip


@pytest.mark.parametrize(("source", "test", "passes"), ASSERT_CASES)
def test_asserts_reach_the_program_by_values(sandbox, source, test, passes):
    run = sandbox.run(Asserts(source, ("f",), (test,)))[0]
    assert run.passed is passes, run
    assert not passes or run.status == "ok"


def test_methods_of_a_solution_in_test_code(sandbox):
    source = "class Solution:\n    def twice(self, n): return 2 * n"
    test = "def check(candidate):\n    assert candidate(4) == 8\ncheck(Solution().twice)"
    assert sandbox.run(Asserts(source, ("Solution.twice",), (test,)))[0].passed


def test_no_tests_are_no_runs(sandbox):
    assert sandbox.run(Script("print(1)", ())) == []


def test_many_threads_share_the_workers(level):
    answers: dict[int, bytes] = {}
    with Sandbox(workers=2, level=level) as sandbox:

        def ask(number: int) -> None:
            answers[number] = sandbox.run(Script("print(int(input()) + 1)", (b"%d\n" % number,)))[0].stdout

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == {number: b"%d\n" % (number + 1) for number in range(12)}


def test_a_closed_sandbox_says_so(level):
    sandbox = Sandbox(level=level)
    sandbox.close()
    sandbox.close()
    with pytest.raises(SandboxError, match="closed"):
        sandbox.run(Script("", (b"",)))


def test_threads_up_to_the_limit(sandbox):
    source = """
import threading
stop = threading.Event()
threads = [threading.Thread(target=stop.wait, daemon=True) for _ in range(int(input()))]
for thread in threads: thread.start()
stop.set()
"""
    assert sandbox.run(Script(source, (b"7\n",)), Limits(processes=8))[0].status == "ok"
    assert sandbox.run(Script(source, (b"400\n",)), Limits(processes=8))[0].status == "error"
