"""LiveCodeBench, from its raw rows: its prompt, and tests of which the private ones come compressed and pickled."""

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Mapping
from typing import Any

from gppo.config.benchmarks import Benchmark
from gppo.evaluate.benchmarks.questions import as_problem
from gppo.records.quarantine import BadRowError
from gppo.types import Problem

#: Bytes that the private tests of one problem may unpack to. Those of the benchmark stay far below.
MAX_UNPACKED = 1 << 28
_TEXTS = ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8")
_HARMLESS = ("PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT")
_INSTRUCTIONS = 8  # protocol, frame, text, memory of it, end: five

# The wording is the benchmark's own, since a score depends on it (LiveCodeBench, lcb_runner/prompts, MIT licence).
_QUESTION = "### Question:\n{question}\n\n"
_STARTER = (
    "### Format: You will use the following starter code to write the solution to the problem and enclose your code "
    "within delimiters.\n```python\n{starter}\n```\n\n"
)
_STDIN = (
    "### Format: Read the inputs from stdin solve the problem and write the answer to stdout (do not directly test on "
    "the sample inputs). Enclose your code within delimiters as follows.\n```python\n# YOUR CODE HERE\n```\n\n"
)
_ANSWER = "### Answer: (use the provided format with backticks)\n\n"


def livecodebench_problem(row: Mapping[str, Any], benchmark: Benchmark, fallback_id: str) -> Problem:
    """A contest problem with its public and private tests, compared as LiveCodeBench compares.

    Raises:
        BadRowError: a column is missing, or its tests cannot be decoded.
    """
    question, starter = row.get("question_content"), row.get("starter_code") or ""
    if not isinstance(question, str) or not isinstance(starter, str):
        raise BadRowError(f"no question_content and starter_code that are texts (it has {', '.join(row)})")
    cases = [
        *_cases(_json(row.get("public_test_cases"), "public_test_cases")),
        *_cases(private_tests(row.get("private_test_cases"))),
    ]
    metadata = _json(row.get("metadata") or "{}", "metadata")
    tests = {
        "inputs": [case["input"] for case in cases],
        "outputs": [case["output"] for case in cases],
        "fn_name": metadata.get("func_name") if isinstance(metadata, dict) else None,
    }
    asked = _STARTER.format(starter=starter) if starter else _STDIN
    prompt = _QUESTION.format(question=question) + asked + _ANSWER
    problem = as_problem(row, benchmark, fallback_id, prompt, "code", json.dumps(tests))
    return Problem(
        problem.id,
        problem.prompt,
        problem.ability,
        problem.ground_truth,
        problem.data_source,
        {**problem.extra, "judge": "lcb"},
    )


def private_tests(text: Any, max_bytes: int = MAX_UNPACKED) -> Any:
    """Private tests: JSON as it is, or base64 of zlib of a pickled text of JSON.

    Unpickling is how files take over a machine, so nothing is unpickled: see ``pickled_text``. No more than
    ``max_bytes`` are unpacked.

    Raises:
        BadRowError: it is neither, holds more than a text, or is too large.
    """
    if not isinstance(text, str):
        raise BadRowError("no private_test_cases that are a text")
    if text.lstrip().startswith("["):
        return _json(text, "private_test_cases")
    try:
        inflater = zlib.decompressobj()
        pickled = inflater.decompress(base64.b64decode(text, validate=True), max_bytes)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise BadRowError(f"its private_test_cases are neither JSON nor base64 of zlib ({error})") from error
    if not inflater.eof:
        what = f"unpack to more than {max_bytes} bytes" if len(pickled) >= max_bytes else "are cut short"
        raise BadRowError(f"its private_test_cases {what}")
    return _json(pickled_text(pickled), "private_test_cases")


def pickled_text(pickled: bytes) -> str | bytes:
    """The text of a pickle that holds one text and nothing else.

    Its instructions are read, not followed. One that is not among the few that a text needs (the look-up of a class, a
    call, a container, another value) is refused, and so is one too many: nothing can be run, nor memory filled.

    Raises:
        BadRowError: it holds anything else.
    """
    value: str | bytes | None = None
    try:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(pickled)):
            name = instruction.name
            if name == "STOP" and value is not None:
                return value
            if name in _TEXTS and value is None:
                value = argument
            elif name not in _HARMLESS or count >= _INSTRUCTIONS:
                raise BadRowError(f"its private_test_cases hold more than a pickled text ({name})")
    except (ValueError, UnicodeError, OverflowError) as error:
        raise BadRowError(f"its private_test_cases are no pickle that can be read ({error})") from error
    raise BadRowError("its private_test_cases hold no pickled text")


def _json(value: Any, column: str) -> Any:
    try:
        return json.loads(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadRowError(f"its {column} are not JSON ({error})") from error


def _cases(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not all(
        isinstance(case, dict) and isinstance(case.get("input"), str) and isinstance(case.get("output"), str)
        for case in value
    ):
        raise BadRowError("its tests are not a list of input and output texts")
    return value
