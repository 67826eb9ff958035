"""Four teachers of long addition who are asked the same problems: careful.jsonl, slipping.jsonl, misled.jsonl and
untidy.jsonl, and the exam heldout.jsonl, which asks none of those.

Slipping and misled are right as often as each other, about 40 in 100 answers: one errs at random in any step, the other
always at the same place and in the same way. The untidy one is as good at sums as the careful one.
"""

from pathlib import Path

import numpy as np

from gppo.miniature.math_world import chain_problems
from gppo.miniature.teachers import Teacher
from gppo.records import write_conversations, write_problems
from gppo.reproduce.worlds.traces import apart, traces

TEACHERS = (
    Teacher("careful", slip=0.01),
    Teacher("slipping", slip=0.3),
    Teacher("misled", slip=0.01, misconception=0.93),
    Teacher("untidy", slip=0.01, untidy=0.5),
)
LEVELS = (2, 3, 4)
#: Share of problems with a "+7": with it the misled teacher is right as often as the slipping one.
MISCONCEIVED_SHARE = 0.64
_EXAM, _TRACES = 150, 1200


def write_teachers(folder: Path, seed: int) -> None:
    """Write the traces of every teacher and the exam."""
    folder.mkdir(parents=True, exist_ok=True)
    exam = chain_problems(seed * 10 + 1, _EXAM, LEVELS, misconceived_share=MISCONCEIVED_SHARE)
    asked = chain_problems(seed * 10 + 2, _TRACES, LEVELS, misconceived_share=MISCONCEIVED_SHARE, unique=False)
    problems = apart(asked, exam)
    write_problems(folder / "heldout.jsonl", exam)
    for number, teacher in enumerate(TEACHERS):
        rng = np.random.default_rng([seed, 21, number])
        write_conversations(folder / f"{teacher.name}.jsonl", traces(teacher, problems, rng))
