"""Which tests are contradicted by what solutions that are known to be right do with them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gppo.sandbox import Execution
from gppo.verify.code import AssertTests, StdinTests, Suite, same_text, same_value

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Faulty:
    """A test that is contradicted.

    Args:
        test: its number, from 0.
        input: what goes in, cut to 200 characters.
        expected: what the test expects, likewise.
        given: what the solutions agree on instead, likewise.
        agree: solutions that do.
        of: solutions that were run.
    """

    test: int
    input: str
    expected: str
    given: str
    agree: int
    of: int

    @property
    def sentence(self) -> str:
        """What is wrong, for a person."""
        return f"test {self.test} expects “{self.expected}”; {self.agree} of {self.of} solutions give “{self.given}”"


def contradicted(suite: Suite, runs: Sequence[Sequence[Execution]], agree: int) -> list[Faulty]:
    """The tests of a suite that are faulty.

    A test is faulty where more than half of the solutions, and at least ``agree``, give one and the same answer and it
    is not the expected one. A run that ends in an error or at a limit gives no answer; one that the sandbox failed does
    not count at all.

    Args:
        suite: the tests.
        runs: of each solution, on every test in order.
        agree: solutions that must agree.
    """
    found = []
    for i in range(len(suite)):
        counted = [run[i] for run in runs if run[i].status != "infra"]
        answers = [run for run in counted if run.status == "ok"]
        groups: list[list[Execution]] = []
        for answer in answers:
            group = next((group for group in groups if _same(suite, answer, group[0])), None)
            if group is None:
                groups.append([answer])
            else:
                group.append(answer)
        largest = max(groups, key=len, default=[])
        if len(largest) >= agree and 2 * len(largest) > len(counted) and not _as_expected(suite, i, largest[0]):
            given, wanted = _test(suite, i)
            said = _said(suite, largest[0])
            found.append(Faulty(i, given[:_SHOWN], wanted[:_SHOWN], said[:_SHOWN], len(largest), len(counted)))
    return found


def _same(suite: Suite, one: Execution, other: Execution) -> bool:
    if isinstance(suite, StdinTests):
        return same_text(_text(one), _text(other), "reward")
    if isinstance(suite, AssertTests):
        return one.passed == other.passed
    return same_value(one.value, _listed(other.value), "reward")


def _as_expected(suite: Suite, i: int, run: Execution) -> bool:
    if isinstance(suite, StdinTests):
        return same_text(_text(run), suite.outputs[i], "reward")
    if isinstance(suite, AssertTests):
        return run.passed
    return same_value(run.value, suite.outputs[i], "reward")


def _test(suite: Suite, i: int) -> tuple[str, str]:
    """Input and expected output of a test, as text."""
    if isinstance(suite, StdinTests):
        return suite.inputs[i].decode("utf-8", "replace").strip(), suite.outputs[i].strip()
    if isinstance(suite, AssertTests):
        return suite.pieces[i], "no failing assertion"
    return ", ".join(map(json.dumps, suite.inputs[i])), json.dumps(suite.outputs[i])


def _said(suite: Suite, run: Execution) -> str:
    if isinstance(suite, StdinTests):
        return _text(run).strip()
    return "a failing assertion" if isinstance(suite, AssertTests) else repr(_listed(run.value))


def _text(run: Execution) -> str:
    return run.stdout.decode("utf-8", "replace")


def _listed(value: Any) -> Any:
    """Tuples as lists, at every depth: what an expected value would look like."""
    if isinstance(value, list | tuple):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        return {key: _listed(item) for key, item in value.items()}
    return value
