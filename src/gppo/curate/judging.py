"""Judging what a set holds: the responses of conversations, and responses that come with problems."""

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gppo.config import JudgeConfig
from gppo.curate.step import Training
from gppo.sandbox import Limits
from gppo.types import Problem, Rollout, UserError, Verdict
from gppo.verify.cases import ABILITIES, CaseJudge

_RESPONSES_AT_ONCE = 256
_NOTHING = np.zeros(0, dtype=np.int64)


def open_judge(config: JudgeConfig, seed: int) -> CaseJudge:
    """The judge of a step; a context manager."""
    limits = Limits(seconds=config.test_seconds)
    return CaseJudge(
        config.workers, config.timeout, tests_per_problem=config.tests_per_problem, seed=seed, limits=limits
    )


def problem_of(record: Training, reference: str) -> Problem | None:
    """What a record asks, with what a right answer is; None where that is not known.

    Args:
        record: a problem is itself. A conversation asks what stands before its last turn of the assistant.
        reference: key of a conversation's ``extra`` with the reference answer or the tests. ``extra["ability"]`` says
            which judge it has; without it a reference that is an object is tests, everything else an answer.
    """
    if isinstance(record, Problem):
        return record
    told = record.extra.get(reference)
    text = json.dumps(told) if isinstance(told, dict | list) else "" if told is None else str(told)
    if not text.strip():
        return None
    ability = str(record.extra.get("ability") or ("code" if text.lstrip().startswith("{") else "math"))
    if ability not in ABILITIES:
        raise UserError(
            f"record {record.id}: ability is '{ability}', which has no judge; write {' or '.join(ABILITIES)}"
        )
    return Problem(record.id, record.messages[: _last_answer(record.messages)], ability, text, record.source)


def response_of(record: Training) -> str:
    """The last turn of the assistant; "" for a problem."""
    return "" if isinstance(record, Problem) else record.messages[_last_answer(record.messages)]["content"]


def judged(cases: Iterable[tuple[Problem | None, Sequence[str]]], judge: CaseJudge) -> Iterator[list[Verdict | None]]:
    """Verdicts on the responses to each problem, in order; None for each response where there is no problem."""
    stream = iter(cases)
    while True:
        batch: list[tuple[Problem | None, Sequence[str]]] = []
        while sum(len(responses) for _, responses in batch) < _RESPONSES_AT_ONCE and len(batch) < _RESPONSES_AT_ONCE:
            following = next(stream, None)
            if following is None:
                break
            batch.append(following)
        if not batch:
            return
        pairs = [(problem, response) for problem, responses in batch if problem for response in responses]
        found = iter(judge([(problem, spoken(response), False) for problem, response in pairs]))
        for problem, responses in batch:
            yield list(itertools.islice(found, len(responses))) if problem else [None] * len(responses)


def share_correct(statuses: Iterable[str]) -> float | None:
    """Share of correct ones among those that could be judged; None where the judge failed on all."""
    valid = [status for status in statuses if status != "infra"]
    return sum(status == "correct" for status in valid) / len(valid) if valid else None


def unit_share(value: Any, where: str) -> float:
    """A share as data hold it. A UserError where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise UserError(f"{where} is {value!r}; a share is a number from 0 to 1")
    return float(value)


def _last_answer(messages: Sequence[Any]) -> int:
    return max(i for i, turn in enumerate(messages) if turn["role"] == "assistant")


def spoken(text: str, problem_id: str = "", sample: int = 0) -> Rollout:
    """A text as the judges take it: they look at nothing but what was said."""
    return Rollout(problem_id, sample, _NOTHING, _NOTHING, _NOTHING.astype(np.float32), text, "stop")
