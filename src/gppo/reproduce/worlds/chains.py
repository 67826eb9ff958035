"""Chains of additions for experiments on RL: traces of one teacher, exercises, and an exam disjoint from both."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gppo.miniature.math_world import chain_problems
from gppo.miniature.teachers import MISLED, SLIPPING, Teacher
from gppo.records import Conversation, write_conversations, write_problems
from gppo.types import Message, Problem

#: Additions in a chain. Short ones keep a run within seconds; long ones are for a GPU.
SHORT, LONG = (2, 3), (6, 8)


def write_misled(folder: Path, seed: int) -> None:
    """The teacher does "+7" as "+6" nearly always: what is right is rare in the student, and RL must find it."""
    _write(folder, seed, MISLED, SHORT)


def write_misled_long(folder: Path, seed: int) -> None:
    """``write_misled`` with long chains, and more of them."""
    _write(folder, seed, MISLED, LONG, traces=20_000, drills=8000, exam=500)


def write_slipping(folder: Path, seed: int) -> None:
    """The teacher's steps go wrong at random: what is right is likely in the student, and RL only sharpens it."""
    _write(folder, seed, SLIPPING, SHORT)


def write_slipping_long(folder: Path, seed: int) -> None:
    """``write_slipping`` with long chains, and more of them."""
    _write(folder, seed, SLIPPING, LONG, traces=20_000, drills=8000, exam=500)


def _write(
    folder: Path,
    seed: int,
    teacher: Teacher,
    levels: Sequence[int],
    *,
    traces: int = 2400,
    drills: int = 2000,
    exam: int = 150,
) -> None:
    """traces.jsonl, exercises.jsonl and heldout.jsonl."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 21])
    asked = chain_problems(seed * 10 + 6, exam, levels)
    write_problems(folder / "heldout.jsonl", asked)
    known = {problem.id for problem in asked}

    def others(number: int, count: int) -> list[Problem]:
        drawn = chain_problems(seed * 10 + number, count, levels, unique=False)
        return [problem for problem in drawn if problem.id not in known]

    exercises = {problem.id: problem for problem in others(7, drills)}  # RL reads each problem once
    write_problems(folder / "exercises.jsonl", exercises.values())
    rows = []
    for i, problem in enumerate(others(8, traces)):
        answer: Message = {"role": "assistant", "content": teacher.solve(problem, rng)}
        rows.append(Conversation(f"trace-{i}", (*problem.prompt, answer), teacher.name))
    write_conversations(folder / "traces.jsonl", rows)
