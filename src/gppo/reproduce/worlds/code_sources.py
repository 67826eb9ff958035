"""Five sources of small programs, from excellent to poor, each with problems of its own taste: source-1.jsonl to
source-5.jsonl, and the exam heldout.jsonl.

All are of one coach, who misreads problems seldom in source 1 and nearly always in source 5. Each likes some families
of problems, drawn by the seed whatever its quality. So a second source brings new problems as well as worse programs:
with equal tastes the best source alone could only win. One row in fifty answers an exam problem, for decontamination to
remove.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gppo.miniature.code_world import CodeProblem, code_problems, to_problem
from gppo.miniature.teachers import programmed
from gppo.records import Conversation, write_conversations, write_problems
from gppo.reproduce.worlds.traces import trace

#: How often the coach misreads a problem, for each source.
MISREADING = (0.02, 0.1, 0.3, 0.6, 0.9)
#: Families that a source likes, and how many times likelier a problem of them is to be in it.
LIKED, LIKING = 5, 9.0
_EXAM, _PROGRAMS, _ROWS = 80, 1258, 600
_LEAKED = 50  # one row in so many


def write_code_sources(folder: Path, seed: int) -> None:
    """Write the sources and the exam."""
    folder.mkdir(parents=True, exist_ok=True)
    problems = code_problems(seed, _EXAM + _PROGRAMS)
    exam, kata = problems[:_EXAM], problems[_EXAM:]
    write_problems(folder / "heldout.jsonl", [to_problem(problem) for problem in exam])
    for number, misreading in enumerate(MISREADING, start=1):
        rng = np.random.default_rng([seed, 25, number])
        chosen = _by_taste(kata, rng)
        leaked = rng.choice(_EXAM, size=_ROWS // _LEAKED, replace=False)
        chosen[::_LEAKED] = [exam[i] for i in leaked]
        name = f"source-{number}"
        write_conversations(folder / f"{name}.jsonl", [_row(p, name, misreading, rng) for p in chosen])


def _by_taste(problems: Sequence[CodeProblem], rng: np.random.Generator) -> list[CodeProblem]:
    """Different problems, more of them of the families that the source likes."""
    families = sorted({problem.family for problem in problems})
    liked = {families[i] for i in rng.choice(len(families), size=LIKED, replace=False)}
    weights = np.array([LIKING if problem.family in liked else 1.0 for problem in problems])
    chosen = rng.choice(len(problems), size=_ROWS, replace=False, p=weights / weights.sum())
    return [problems[i] for i in chosen]


def _row(problem: CodeProblem, source: str, misreading: float, rng: np.random.Generator) -> Conversation:
    return trace(to_problem(problem), programmed(problem, rng, misreading), f"{source}-{problem.id}", source)
