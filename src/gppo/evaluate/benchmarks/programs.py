"""HumanEval and MBPP: what is asked, and their asserts as the code judge takes them."""

import ast
import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

from gppo.config.benchmarks import Benchmark
from gppo.evaluate.benchmarks.questions import as_problem
from gppo.records.quarantine import BadRowError
from gppo.types import Problem

_HUMANEVAL = (
    "Complete the following Python function. Answer with the whole function in one fenced code block.\n\n"
    "```python\n{prompt}\n```"
)
_MBPP = (
    "{text}\n\nWrite it in Python so that these tests pass. Answer with the whole program in one fenced code block.\n\n"
    "```python\n{tests}\n```"
)


def humaneval_problem(row: Mapping[str, Any], benchmark: Benchmark, fallback_id: str) -> Problem:
    """The whole ``check`` is one test, as its loops and random inputs belong together.

    What the prompt defines before the function stands before a response that gives the function only.

    Raises:
        BadRowError: a column is missing, or its Python cannot be read.
    """
    prompt, test, entry = (_text(row, column) for column in ("prompt", "test", "entry_point"))
    before = [node for node in _parsed(prompt) if getattr(node, "name", None) != entry]
    helpers = [node.name for node in before if isinstance(node, ast.FunctionDef)]
    tests = {
        "asserts": [f"{test}\ncheck({entry})"],
        "names": [entry, *_called([test], helpers)],
        "prologue": "\n\n".join(map(ast.unparse, before)),
    }
    asked = _HUMANEVAL.format(prompt=prompt.rstrip())
    return as_problem(row, benchmark, fallback_id, asked, "code", json.dumps(tests))


def mbpp_problem(row: Mapping[str, Any], benchmark: Benchmark, fallback_id: str) -> Problem:
    """Each assert is a test, and all of them are shown. They may use the modules that the reference program imports.

    Rows of MBPP (both halves) and of MBPP+ (its ``assertion``, the base tests).

    Raises:
        BadRowError: a column is missing, or its Python cannot be read.
    """
    code = _text(row, "canonical_solution" if "assertion" in row else "code")
    program = _parsed(code)
    imports = [ast.unparse(node) for node in program if isinstance(node, ast.Import | ast.ImportFrom)]
    if "assertion" in row:
        lines = _parsed(_text(row, "assertion"))
        asserts = [ast.unparse(node) for node in lines if isinstance(node, ast.Assert)]
        setup = [ast.unparse(node) for node in lines if not isinstance(node, ast.Assert)]
        text = _text(row, "prompt").strip().strip('"').partition("\nassert ")[0].strip()
    else:
        asserts = list(row.get("test_list") or [])
        setup = [*(row.get("test_imports") or []), *filter(None, [row.get("test_setup_code")])]
        text = _text(row, "text" if "text" in row else "prompt").strip()
    names = _called(asserts, [node.name for node in program if isinstance(node, ast.FunctionDef | ast.ClassDef)])
    if not asserts or not names:
        raise BadRowError("its tests call nothing that its reference program defines")
    tests = {"asserts": ["\n".join([*setup, *imports, one]) for one in asserts], "names": names}
    asked = _MBPP.format(text=text, tests="\n".join(asserts))
    return as_problem(row, benchmark, fallback_id, asked, "code", json.dumps(tests))


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    if not isinstance(value, str):
        raise BadRowError(f"no text in '{column}' (it has {', '.join(row)})")
    return value


def _parsed(source: str) -> list[ast.stmt]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # references write "\\w" where they mean r"\\w"; that is theirs
            return ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError) as error:
        raise BadRowError(f"its Python cannot be read ({error})") from error


def _called(tests: Iterable[str], defined: Iterable[str]) -> list[str]:
    """Those of the defined names that the tests use, in order of their first use."""
    known = set(defined)
    names = [node.id for test in tests for top in _parsed(test) for node in ast.walk(top) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(name for name in names if name in known))
