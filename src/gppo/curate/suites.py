"""Tests of programs as data sets write them, turned into the form that our judge reads (docs/code_judging.md)."""

import ast
import json
from collections.abc import Sequence
from typing import Any

from gppo.records import BadRowError
from gppo.verify.code.programs import USUAL_IMPORTS

# What LeetCode's tests call beside the candidate.
_NODES = """
class ListNode:
    def __init__(self, val=0, next=None):
        self.val, self.next = val, next

class TreeNode:
    def __init__(self, val=0, left=None, right=None):
        self.val, self.left, self.right = val, left, right

def list_node(values):
    head = None
    for value in reversed(values):
        head = ListNode(value, head)
    return head

def is_same_list(a, b):
    while a and b and a.val == b.val:
        a, b = a.next, b.next
    return a is None and b is None

def tree_node(values):
    nodes = [None if value is None else TreeNode(value) for value in values]
    children = iter(nodes[1:])
    for node in nodes:
        if node is not None:
            node.left, node.right = next(children, None), next(children, None)
    return nodes[0] if nodes else None

def is_same_tree(a, b):
    if a is None or b is None:
        return a is b
    return a.val == b.val and is_same_tree(a.left, b.left) and is_same_tree(a.right, b.right)
"""


def suite_of(tests: Any) -> dict[str, Any]:
    """The tests of a problem, from any of these, or their JSON text: ``{"inputs", "outputs", "fn_name"}`` as APPS and
    TACO have them, ``[{"input", "output"}]``, LeetCode's ``{"functional": "def check(candidate): ..."}``, or our own.

    Raises:
        BadRowError: they are something else, or there are none.
    """
    if isinstance(tests, str):
        try:
            tests = json.loads(tests)
        except ValueError as error:
            raise BadRowError(f"the tests are text that is no JSON ({error}); write them as JSON") from error
    if isinstance(tests, dict) and "asserts" in tests:
        return tests
    if isinstance(tests, dict) and isinstance(tests.get("functional"), str):
        return check_suite(tests["functional"])
    if isinstance(tests, list) and tests and all(isinstance(test, dict) for test in tests):
        function = next((test["fn_name"] for test in tests if test.get("fn_name")), None)
        tests = {"inputs": [t.get("input") for t in tests], "outputs": [t.get("output") for t in tests]}
        tests |= {"fn_name": function} if function else {}
    if not isinstance(tests, dict) or not tests.get("inputs") or "outputs" not in tests:
        raise BadRowError("there are no tests; add inputs and outputs, or remove the row")
    inputs, outputs = tests["inputs"], tests["outputs"]
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        raise BadRowError("the tests have inputs and outputs of different number; give each input its output")
    function = tests.get("fn_name")
    if function:
        return {"inputs": [_arguments(each) for each in inputs], "outputs": _values(outputs), "fn_name": function}
    return {"inputs": [_lines(each) for each in inputs], "outputs": [_lines(each) for each in outputs], "fn_name": None}


def check_suite(functional: str) -> dict[str, Any]:
    """LeetCode's ``def check(candidate)`` full of asserts, and ``check(Solution().method)``: each assert is a test.

    Raises:
        BadRowError: it is something else.
    """
    try:
        check, call = ast.parse(functional).body
        method = call.value.args[0].attr  # type: ignore[attr-defined]
        lines: Sequence[ast.stmt] = check.body  # type: ignore[attr-defined]
    except (SyntaxError, ValueError, AttributeError, IndexError) as error:
        raise BadRowError("the tests are no check(candidate) called with Solution().method; mend them") from error
    asserts = [f"candidate = Solution().{method}\n{ast.unparse(line)}" for line in lines]
    pieces = [_NODES + piece if "_node(" in piece else piece for piece in asserts]
    return {"asserts": pieces, "names": [f"Solution.{method}"], "prologue": USUAL_IMPORTS}


def _arguments(value: Any) -> str:
    """One JSON value a line for each argument; text is there already."""
    if isinstance(value, str):
        return value
    return "\n".join(json.dumps(argument) for argument in (value if isinstance(value, list) else [value]))


def _values(outputs: list[Any]) -> list[str]:
    """One JSON value for each call. APPS puts the returned value into a list of one, in all tests of a problem."""
    if all(isinstance(output, list) and len(output) == 1 for output in outputs):
        outputs = [output[0] for output in outputs]
    return [output if isinstance(output, str) and _is_json(output) else json.dumps(output) for output in outputs]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _lines(value: Any) -> str:
    """Standard input or output: text, or its lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise BadRowError(f"a test's input or output is a {type(value).__name__}; write it as text")
