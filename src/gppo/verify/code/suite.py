"""The tests of a problem: what goes into a program, and what is expected to come out."""

import json
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from keyword import iskeyword
from typing import Any

_MAX_DEPTH = 150  # of an argument; the sandbox refuses values nested deeper than 200
_ADAPTERS = ("list", "tree", None)
_PAIRED_KEYS = {"inputs", "outputs", "fn_name", "adapters", "prologue"}
_ASSERT_KEYS = {"asserts", "names", "prologue"}


class BadTestsError(Exception):
    """Tests that cannot be used; the text says what is wrong and reads on from "its tests"."""


@dataclass(frozen=True, slots=True)
class StdinTests:
    """Programs that read standard input and write standard output.

    Args:
        inputs: for each test what stands on standard input, UTF-8.
        outputs: for each test what standard output should hold.
    """

    inputs: tuple[bytes, ...]
    outputs: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Sequence[int]) -> "StdinTests":
        """The given tests."""
        return StdinTests(tuple(self.inputs[i] for i in index), tuple(self.outputs[i] for i in index))


@dataclass(frozen=True, slots=True)
class CallTests:
    """Functions called with values.

    Args:
        entry: ``Solution().entry`` or a module-level function.
        inputs: for each test the positional arguments, as JSON read them.
        outputs: for each test the expected value, as JSON read it.
        adapters: for each argument "list", "tree" or None (LeetCode's linked lists and trees); empty for none at all.
        prologue: code that stands before the program; None for the usual imports.
    """

    entry: str
    inputs: tuple[tuple[Any, ...], ...]
    outputs: tuple[Any, ...]
    adapters: tuple[str | None, ...] = ()
    prologue: str | None = None

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, index: Sequence[int]) -> "CallTests":
        """The given tests."""
        inputs, outputs = tuple(self.inputs[i] for i in index), tuple(self.outputs[i] for i in index)
        return replace(self, inputs=inputs, outputs=outputs)


@dataclass(frozen=True, slots=True)
class AssertTests:
    """Test code with asserts.

    Args:
        names: module-level names of the program that the test code calls; methods as ``Solution.method``.
        pieces: pieces of test code; each is one test and passes when it runs to its end.
        prologue: code that stands before the program, "" for none.
    """

    names: tuple[str, ...]
    pieces: tuple[str, ...]
    prologue: str = ""

    def __len__(self) -> int:
        return len(self.pieces)

    def take(self, index: Sequence[int]) -> "AssertTests":
        """The given tests."""
        return replace(self, pieces=tuple(self.pieces[i] for i in index))


Suite = StdinTests | CallTests | AssertTests


def read_suite(tests: str | Mapping[str, Any]) -> Suite:
    """Read the tests of a problem.

    Args:
        tests: a JSON object, or what it parses to. Either ``{"inputs": [text], "outputs": [text], "fn_name": name or
            null}`` as LiveCodeBench has them (with a name, an input holds one JSON argument a line and an output is one
            JSON value; ``adapters`` and ``prologue`` may stand beside), or ``{"asserts": [code], "names": [name]}``
            with an optional ``prologue``.

    Raises:
        BadTestsError: they are something else, or there are none.
    """
    if isinstance(tests, str):
        tests = _json(tests, "are")
    if not isinstance(tests, Mapping):
        raise BadTestsError('are not a JSON object; give {"inputs", "outputs", "fn_name"} or {"asserts", "names"}')
    asserted = "asserts" in tests
    for key in tests:
        if key not in (_ASSERT_KEYS if asserted else _PAIRED_KEYS):
            known = ", ".join(sorted(_ASSERT_KEYS if asserted else _PAIRED_KEYS))
            raise BadTestsError(f"have an unknown key {key!r}; known are {known}")
    suite = _read_asserts(tests) if asserted else _read_pairs(tests)
    if not len(suite):
        raise BadTestsError("are empty; a problem needs at least one test")
    return suite


def choose(suite: Suite, at_most: int | None, key: str) -> Suite:
    """At most so many of the tests, in their order; the same ones for the same key.

    Args:
        suite: all tests.
        at_most: None takes all.
        key: decides which, e.g. seed and problem id, so that every response to a problem meets the same tests.
    """
    if at_most is None or len(suite) <= at_most:
        return suite
    return suite.take(sorted(random.Random(key).sample(range(len(suite)), at_most)))


def _read_pairs(tests: Mapping[str, Any]) -> StdinTests | CallTests:
    inputs, outputs = _texts(tests, "inputs"), _texts(tests, "outputs")
    if len(inputs) != len(outputs):
        raise BadTestsError(f"have {len(inputs)} inputs and {len(outputs)} outputs; give one output for each input")
    entry = tests.get("fn_name")
    if entry is None:
        if tests.get("adapters") or tests.get("prologue"):
            raise BadTestsError("have adapters or a prologue, but no fn_name; both are for functions")
        try:
            return StdinTests(tuple(text.encode() for text in inputs), outputs)
        except UnicodeEncodeError:
            raise BadTestsError("have an input with half a surrogate pair, which UTF-8 cannot hold") from None
    if not isinstance(entry, str) or not entry.isidentifier() or iskeyword(entry):
        raise BadTestsError(f"have the fn_name {entry!r}; give the name of a function, or null for standard input")
    arguments = tuple(
        tuple(_argument(line, f"have in input {i} an argument that is") for line in text.split("\n") if line.strip())
        for i, text in enumerate(inputs)
    )
    values = tuple(_json(text, f"have an output {i} that is") for i, text in enumerate(outputs))
    adapters = tests.get("adapters") or []
    if not isinstance(adapters, list) or any(adapter not in _ADAPTERS for adapter in adapters):
        raise BadTestsError('have adapters that are not a list of "list", "tree" and null')
    prologue = tests.get("prologue")
    if prologue is not None and not isinstance(prologue, str):
        raise BadTestsError("have a prologue that is not a text")
    return CallTests(entry, arguments, values, tuple(adapters), prologue)


def _read_asserts(tests: Mapping[str, Any]) -> AssertTests:
    names = _texts(tests, "names")
    for name in names:
        if not all(part.isidentifier() for part in name.split(".")):
            raise BadTestsError(f"have the name {name!r}; give functions, or methods as Solution.method")
    if not names:
        raise BadTestsError("have no names; list the functions of the program that the asserts call")
    prologue = tests.get("prologue", "")
    if not isinstance(prologue, str):
        raise BadTestsError("have a prologue that is not a text")
    return AssertTests(names, _texts(tests, "asserts"), prologue)


def _texts(tests: Mapping[str, Any], key: str) -> tuple[str, ...]:
    texts = tests.get(key)
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise BadTestsError(f"have no {key!r} that is a list of texts")
    return tuple(texts)


def _argument(text: str, what: str) -> Any:
    value = _json(text, what)
    if text.count("[") + text.count("{") > _MAX_DEPTH:  # quick, and rarely true
        level, depth = [value], 0
        while level:
            level, depth = [item for one in level for item in _items(one)], depth + 1
        if depth > _MAX_DEPTH:
            raise BadTestsError(f"{what} nested too deep for the sandbox")
    return value


def _items(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _json(text: str, what: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise BadTestsError(f"{what} not JSON ({error.msg} at character {error.pos})") from None
    except (RecursionError, ValueError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else "a number of too many digits"
        raise BadTestsError(f"{what} {reason}") from None
