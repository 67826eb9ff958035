"""What is handed to the sandbox: a program with its inputs, and never an expected output."""

import re

from gppo.sandbox.api import Asserts, Function, Program, Script
from gppo.verify.code.compare import Mode
from gppo.verify.code.suite import CallTests, StdinTests, Suite

# The order is LiveCodeBench's, and matters: of equal names the last one wins.
_MODULES = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json", "builtins", "typing"),
)

#: The names that LeetCode's editor offers and that LiveCodeBench puts before every program.
USUAL_IMPORTS = "".join(
    [f"from {name} import *\n" for name in _MODULES]
    + [f"import {name}\n" for name in _MODULES if name not in ("builtins", "typing")]
    + ["sys.setrecursionlimit(50000)\n"]
)

_FUTURE = re.compile(r"^from[ \t]+__future__[ \t]+import[^\n(]*\n", re.MULTILINE)

# LiveCodeBench runs a stdin program inside its own process: imports first, the rest as the body of a function called
# for each test, with standard input and output replaced by texts. What goes another way (open(0), os.write,
# atexit) is not seen, sys.exit ends the body with any code, and a name is global only when declared so.
_IN_PROCESS = """\
import ast, io, os, sys, types

def _as_function(source):
    body = ast.parse(source).body
    last = body[-1] if body else None
    if isinstance(last, ast.If) and ast.unparse(last.test) == "__name__ == '__main__'":
        body[-1:] = last.body
    imports = [node for node in body if isinstance(node, (ast.Import, ast.ImportFrom))]
    rest = [node for node in body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    function = ast.parse("def wrapped_function(): pass").body[0]
    function.body = rest or function.body
    return ast.fix_missing_locations(ast.Module([*imports, function], []))

def _run(source, header):
    text = sys.stdin.buffer.read().decode()
    output = os.dup(1)
    code = compile(_as_function(source), "<program>", "exec", dont_inherit=True)
    module = types.ModuleType("tmp_sol")
    exec(header, module.__dict__)
    exec(code, module.__dict__)
    lines = iter(text.split("\\n"))
    stdin = io.StringIO(text)
    stdin.read = lambda *_: text
    stdin.readline = lambda *_: next(lines)
    stdin.readlines = lambda *_: text.split("\\n")
    printed = io.StringIO()
    printed.close = lambda: None
    sys.stdin, sys.stdout = stdin, printed
    try:
        module.wrapped_function()
    except SystemExit:
        pass
    os.ftruncate(output, 0)
    os.lseek(output, 0, os.SEEK_SET)
    data = printed.getvalue().encode("utf-8", "surrogatepass")
    while data:
        data = data[os.write(output, data):]

"""

# LiveCodeBench compares the object itself. What crosses from the sandbox is plain, so an object becomes a value that
# equals the same JSON values as it does; frozenset() equals none. The lookup by text is LiveCodeBench's, too.
_EXACT_VALUE = """

def _lcb_value(value):
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        return value
    if isinstance(value, (list, tuple)):
        return (tuple if isinstance(value, tuple) else list)(map(_lcb_value, value))
    if isinstance(value, dict):
        return {key: _lcb_value(item) for key, item in value.items()}
    for kind in (int, float):
        try:
            if kind(value) == value:  # a Fraction or a Decimal
                return kind(value)
        except (TypeError, ValueError, ArithmeticError):
            pass
    return frozenset()

def _lcb_entry(*arguments):
    return _lcb_value(%s(*arguments))
"""


def build_program(source: str, suite: Suite, mode: Mode) -> Program:
    """The program of a response with the inputs of its tests.

    ``lcb`` runs stdin programs as LiveCodeBench does; ``reward`` runs them as they are. Functions get the imports that
    their statements take for granted, unless the tests bring a prologue.
    """
    if isinstance(suite, StdinTests):
        if mode == "lcb":
            source = f"{_IN_PROCESS}_run({source!r}, {USUAL_IMPORTS!r})\n"
        return Script(source, suite.inputs)
    if isinstance(suite, CallTests):
        complete = with_prologue(source, USUAL_IMPORTS if suite.prologue is None else suite.prologue)
        if mode == "lcb" and not suite.adapters:
            lookup = f"Solution().{suite.entry}" if "class Solution" in source else suite.entry
            return Function(complete + _EXACT_VALUE % lookup, "_lcb_entry", suite.inputs)
        return Function(complete, suite.entry, suite.inputs, suite.adapters)
    return Asserts(with_prologue(source, suite.prologue), suite.names, suite.pieces)


def with_prologue(source: str, prologue: str) -> str:
    """The program after the prologue; its ``from __future__`` lines stay first, as Python demands."""
    if not prologue:
        return source
    future = "".join(_FUTURE.findall(source)) if "__future__" in source else ""
    return f"{future}{prologue.rstrip()}\n\n{_FUTURE.sub('', source) if future else source}"
