"""Chains for students and for exams that share none, and the traces that teachers write to them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gppo.miniature.math_world import chain_problem
from gppo.miniature.teachers import Teacher
from gppo.records import Conversation
from gppo.types import Message, Problem

DIGITS = tuple(range(1, 10))


def drawn_chains(
    rng: np.random.Generator, count: int, levels: Sequence[int], favourites: Sequence[int] = (), share: float = 0.0
) -> list[Problem]:
    """Chains with levels in turn; a chain may come twice.

    Args:
        rng: draws.
        count: how many.
        levels: additions in a chain; chain i has ``levels[i % len(levels)]``.
        favourites: digits that are drawn more often.
        share: chance of each term to be one of the favourites; otherwise any digit from 1 to 9 is as likely.
    """
    chains = []
    for i in range(count):
        length = levels[i % len(levels)] + 1
        liked = rng.random(length) < share
        terms = np.where(liked, rng.choice(favourites or DIGITS, size=length), rng.choice(DIGITS, size=length))
        chains.append(chain_problem([int(term) for term in terms]))
    return chains


def exam_chains(rng: np.random.Generator, count: int, levels: Sequence[int]) -> list[Problem]:
    """Chains that are all different, as many of each level; every digit is as likely.

    Args:
        rng: draws.
        count: how many; a multiple of the number of levels.
        levels: additions in a chain.
    """
    exam: dict[str, Problem] = {}
    for level in levels:
        before = len(exam)
        while len(exam) < before + count // len(levels):
            exam.update({problem.id: problem for problem in drawn_chains(rng, 1, [level])})
    return list(exam.values())


def apart(problems: Sequence[Problem], exam: Sequence[Problem]) -> list[Problem]:
    """The problems that the exam does not ask."""
    asked = {problem.id for problem in exam}
    return [problem for problem in problems if problem.id not in asked]


def trace(problem: Problem, answer: str, name: str, source: str, **extra: Any) -> Conversation:
    """What a student learns from: question and answer, with the reference for judges and what ``extra`` adds."""
    turn: Message = {"role": "assistant", "content": answer}
    known = {"difficulty": problem.extra["difficulty"], "ground_truth": problem.ground_truth}
    return Conversation(name, (*problem.prompt, turn), source, known | extra)


def traces(teacher: Teacher, problems: Sequence[Problem], rng: np.random.Generator) -> list[Conversation]:
    """One trace of the teacher to each problem."""
    return [trace(p, teacher.solve(p, rng), f"{teacher.name}-{i}", teacher.name) for i, p in enumerate(problems)]
