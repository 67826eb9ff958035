"""Six sources of chains, from excellent to poor, each with problems of its own taste: source-1.jsonl to
source-6.jsonl, and the exam heldout.jsonl.

Source 1 makes the fewest mistakes and source 6 the most. Each likes three digits, drawn by the seed whatever its
quality, and most of its terms are of them. So a second source brings new problems as well as worse answers: with equal
tastes the best source alone could only win. One row in fifty asks what the exam asks, for decontamination to remove.
"""

from pathlib import Path

import numpy as np

from gppo.miniature.teachers import Teacher
from gppo.records import write_conversations, write_problems
from gppo.reproduce.worlds.traces import DIGITS, drawn_chains, exam_chains, traces

SOURCES = (
    Teacher("source-1", slip=0.01),
    Teacher("source-2", slip=0.03, untidy=0.02),
    Teacher("source-3", slip=0.08, untidy=0.05),
    Teacher("source-4", slip=0.2, misconception=0.3, untidy=0.1),
    Teacher("source-5", slip=0.4, misconception=0.6, untidy=0.2),
    Teacher("source-6", slip=0.6, misconception=0.9, untidy=0.4),
)
LEVELS = (2, 3, 4, 5)
#: Digits that a source likes, and the chance of a term to be one of them.
LIKED, LIKING = 3, 0.75
_EXAM, _ROWS = 160, 1400
_LEAKED = 50  # one row in so many


def write_math_sources(folder: Path, seed: int) -> None:
    """Write the sources and the exam, whose digits are all as likely."""
    folder.mkdir(parents=True, exist_ok=True)
    exam = exam_chains(np.random.default_rng([seed, 23]), _EXAM, LEVELS)
    write_problems(folder / "heldout.jsonl", exam)
    for number, teacher in enumerate(SOURCES):
        rng = np.random.default_rng([seed, 24, number])
        liked = [int(digit) for digit in rng.choice(DIGITS, size=LIKED, replace=False)]
        problems = drawn_chains(rng, _ROWS, LEVELS, liked, LIKING)
        leaked = rng.choice(_EXAM, size=_ROWS // _LEAKED, replace=False)
        problems[::_LEAKED] = [exam[i] for i in leaked]
        write_conversations(folder / f"{teacher.name}.jsonl", traces(teacher, problems, rng))
