"""The code judge with the signature that TRL calls. Imports no TRL."""

import atexit
import hashlib
import json
import os
import threading
from collections.abc import Sequence
from typing import Any

from gppo.types import Problem, UserError
from gppo.verify.code.judge import CodeJudge
from gppo.verify.rewards import completion_text
from gppo.verify.thinking import OPEN_TAG

_COLUMNS = ("tests", "ground_truth")


def code_reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
    """A reward function for TRL's ``GRPOTrainer(reward_funcs=[code_reward])``: programs run in the sandbox.

    Args:
        prompts, completions: texts, or chats as lists of ``{"role", "content"}``; one of each a response.
        columns: the other columns of the data set; the tests, as JSON text (``read_suite``), are in "tests" or
            "ground_truth", whichever is there first. At most 16 of a problem are run, the same for every response.

    Returns the share of tests passed, in [0, 1], 0 without a program; None, which TRL leaves out, where the sandbox
    itself failed.

    Raises:
        UserError: no column of tests, or tests that cannot be used.
        SandboxError: programs cannot be isolated on this machine.
    """
    column = next((name for name in _COLUMNS if columns.get(name) is not None), None)
    if column is None:
        raise UserError(f"code_reward finds no tests; the data set needs a column {' or '.join(_COLUMNS)}")
    judge = _shared_judge()
    waiting = []
    for prompt, completion, tests in zip(prompts, completions, columns[column], strict=True):
        text = tests if isinstance(tests, str) else json.dumps(tests)
        # The problem's name decides which of its tests are run, so it comes from them.
        problem = Problem(hashlib.sha256(text.encode()).hexdigest(), (), "code", text)
        opened = completion_text(prompt).rstrip().endswith(OPEN_TAG)
        waiting.append(judge.submit(problem, completion_text(completion), opened))
    verdicts = [future.result() for future in waiting]
    return [None if verdict.status == "infra" else verdict.score for verdict in verdicts]


_shared: dict[int, CodeJudge] = {}
_sharing = threading.Lock()


def _shared_judge() -> CodeJudge:
    """The judge of ``code_reward``, one in each process: a sandbox takes a second to start."""
    with _sharing:
        judge = _shared.get(os.getpid())
        if judge is None:
            judge = _shared[os.getpid()] = CodeJudge(workers=min(4, os.cpu_count() or 1))
            atexit.register(judge.close)
        return judge
