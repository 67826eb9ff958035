"""Miniature mathematics: chains of one-digit additions, written out step by step.

A problem of level L adds L digits to a first one. It can be made to contain a step "+7", which is where a teacher with
the misconception goes wrong: always the same way, so that a student learns it as if it were true.
"""

from collections.abc import Sequence

import numpy as np

from gppo.types import Problem

#: The digit whose addition the misconception gets wrong, and what is added instead.
MISCONCEIVED_DIGIT, MISCONCEIVED_AS = 7, 6


def chain_terms(problem: Problem) -> tuple[int, ...]:
    """The digits of a problem's chain."""
    return tuple(int(term) for term in problem.extra["terms"])


def chain_problem(terms: Sequence[int], source: str = "miniature/chains") -> Problem:
    """The problem that asks for the sum of the terms, its id made from them."""
    text = "+".join(map(str, terms))
    return Problem(
        id=f"chain-{text.replace('+', '-')}",
        prompt=({"role": "user", "content": f"{text}=?"},),
        ability="math",
        ground_truth=str(sum(terms)),
        data_source=source,
        extra={"difficulty": f"{len(terms) - 1} steps", "terms": list(terms)},
    )


def chain_problems(
    seed: int, count: int, levels: Sequence[int], *, misconceived_share: float = 0.9, unique: bool = True
) -> list[Problem]:
    """Seeded chains, levels in turn.

    Args:
        seed: of this set.
        count: how many problems.
        levels: additions in a chain; problem i has level ``levels[i % len(levels)]``.
        misconceived_share: share of problems with a "+7" in them; the rest has none.
        unique: whether a chain may appear once only.
    """
    rng = np.random.default_rng([seed, 7])
    others = [d for d in range(1, 10) if d != MISCONCEIVED_DIGIT]
    seen: set[tuple[int, ...]] = set()
    problems: list[Problem] = []
    while len(problems) < count:
        level = levels[len(problems) % len(levels)]
        terms = rng.choice(others, size=level + 1)
        if rng.random() < misconceived_share:
            where = rng.choice(np.arange(1, level + 1), size=rng.integers(1, 1 + (level + 1) // 2), replace=False)
            terms[where] = MISCONCEIVED_DIGIT
        chain = tuple(int(t) for t in terms)
        if unique and chain in seen:
            continue
        seen.add(chain)
        problems.append(chain_problem(chain))
    return problems
