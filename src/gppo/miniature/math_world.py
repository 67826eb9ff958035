"""Miniature mathematics: chains of one-digit additions, written out step by step.

A problem of level L adds L digits to a first one. It can be made to contain a step "+7", which is where a teacher with
the misconception goes wrong: always the same way, so that a student learns it as if it were true.
"""

from collections.abc import Sequence

import numpy as np

from gppo.types import Problem

#: The digit whose addition the misconception gets wrong, and what is added instead.
MISCONCEIVED_DIGIT, MISCONCEIVED_AS = 7, 6

#: Draws in a row that may repeat an earlier chain before the world counts as exhausted.
_PATIENCE = 10_000


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

    Raises:
        ValueError: there are not that many different chains.
    """
    rng = np.random.default_rng([seed, 7])
    seen: set[tuple[int, ...]] = set()
    problems: list[Problem] = []
    while len(problems) < count:
        level, misconceived = levels[len(problems) % len(levels)], rng.random() < misconceived_share
        for _ in range(_PATIENCE):
            chain = _draw_chain(rng, level, misconceived)
            if not unique or chain not in seen:
                break
        else:
            raise ValueError(f"there are not enough different chains of {level} steps for {count} problems")
        seen.add(chain)
        problems.append(chain_problem(chain))
    return problems


def _draw_chain(rng: np.random.Generator, level: int, misconceived: bool) -> tuple[int, ...]:
    """A chain of ``level`` additions; where misconceived, up to half of them add the digit."""
    terms = rng.choice([d for d in range(1, 10) if d != MISCONCEIVED_DIGIT], size=level + 1)
    if misconceived:
        where = rng.choice(np.arange(1, level + 1), size=rng.integers(1, 1 + (level + 1) // 2), replace=False)
        terms[where] = MISCONCEIVED_DIGIT
    return tuple(int(term) for term in terms)
