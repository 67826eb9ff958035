"""Chains of additions for experiments on RL: traces of one teacher, exercises, and an exam disjoint from both."""

from pathlib import Path

import numpy as np

from gppo.miniature.math_world import chain_problems
from gppo.miniature.teachers import MISLED, SLIPPING, Teacher
from gppo.records import Conversation, write_conversations, write_problems
from gppo.types import Message, Problem

#: Additions in a chain. Short ones keep a run within seconds.
LEVELS = (2, 3)


def write_misled(folder: Path, seed: int) -> None:
    """The teacher does "+7" as "+6" nearly always: what is right is rare in the student, and RL must find it."""
    _write(folder, seed, MISLED)


def write_slipping(folder: Path, seed: int) -> None:
    """The teacher's steps go wrong at random: what is right is likely in the student, and RL only sharpens it."""
    _write(folder, seed, SLIPPING)


def _write(folder: Path, seed: int, teacher: Teacher, *, traces: int = 2400, exam: int = 150) -> None:
    """traces.jsonl, exercises.jsonl and heldout.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 21])
    asked = chain_problems(seed * 10 + 6, exam, LEVELS)
    write_problems(folder / "heldout.jsonl", asked)
    known = {problem.id for problem in asked}

    def others(number: int, count: int) -> list[Problem]:
        drawn = chain_problems(seed * 10 + number, count, LEVELS, unique=False)
        return [problem for problem in drawn if problem.id not in known]

    exercises = {problem.id: problem for problem in others(7, 2000)}  # RL reads each problem once
    write_problems(folder / "exercises.jsonl", exercises.values())
    rows = []
    for i, problem in enumerate(others(8, traces)):
        answer: Message = {"role": "assistant", "content": teacher.solve(problem, rng)}
        rows.append(Conversation(f"trace-{i}", (*problem.prompt, answer), teacher.name))
    write_conversations(folder / "traces.jsonl", rows)
