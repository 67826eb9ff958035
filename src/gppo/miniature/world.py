"""The demo's world on disk: three sources of reasoning traces, exercises and programs to write for RL, and two exams.

What is wrong with the sources is wrong on purpose. The tutor believes that adding 7 adds 6. The forum repeats the
tutor, forgets its think tags, and leaks exam questions. The coach misreads what programs should do ("greater than 3" as
``>=3``). The mirror copies the programming problems and leaks their exam, and some of
their tests are wrong. Curation mends what curation can; beliefs are left to RL. Nobody learns from the copybook: it
shows what becomes of wrong answers.
"""

from pathlib import Path

import numpy as np

from gppo.miniature.code_world import CodeProblem, code_problems, to_problem
from gppo.miniature.faults import copybook, with_faulty_tests
from gppo.miniature.math_world import chain_problems
from gppo.miniature.planted import planted_problems
from gppo.miniature.teachers import MISLED, UNTIDY, Teacher, programmed
from gppo.records import Conversation, write_conversations, write_problems
from gppo.types import Message, Problem

#: Steps of a chain that are taught, that RL trains on, and that the exam asks. The longest is unseen in RL.
TAUGHT, TRAINED, ASKED = (2, 3, 4, 5), (2, 3, 4), (2, 3, 4, 5)
UNSEEN_IN_RL = tuple(f"{level} steps" for level in ASKED if level not in TRAINED)


def write_world(
    folder: Path,
    seed: int,
    *,
    exam: int = 200,
    traces: int = 3600,
    exercises: int = 4000,
    code_exam: int = 150,
    programs: int = 1180,
    copies: int = 400,
) -> None:
    """Write tutor, forum, copybook, exercises and heldout; coach, kata, mirror and heldout-code (all .jsonl).

    Args:
        folder: where they go; made where missing.
        seed: of everything drawn.
        exam: held-out math problems.
        traces: the tutor's solutions; the forum has a tenth as many, a third of them leaked or repeated.
        exercises: RL math problems before curation.
        code_exam: held-out code problems.
        programs: code problems that the coach solves, and that RL trains on.
        copies: solutions in the copybook.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_math(folder, seed, exam, traces, exercises)
    write_conversations(folder / "copybook.jsonl", copybook(seed, copies, TAUGHT))
    write_code(folder, seed, code_exam, programs)


def write_math(folder: Path, seed: int, exam: int, traces: int, exercises: int) -> None:
    """The files of mathematics; arguments as in ``write_world``."""
    rng = np.random.default_rng([seed, 11])
    heldout = chain_problems(seed * 10 + 1, exam, ASKED)
    tutor_problems = chain_problems(seed * 10 + 2, traces, TAUGHT, unique=False)
    tutor = [_trace(MISLED, p, f"tutor-{i}", rng) for i, p in enumerate(tutor_problems)]
    posts = traces // 10
    repeated = [tutor[i] for i in rng.integers(len(tutor), size=posts // 6)]
    leaked = [heldout[i] for i in rng.integers(len(heldout), size=posts // 6)]
    asked = chain_problems(seed * 10 + 3, posts - len(repeated) - len(leaked), TAUGHT, unique=False)
    forum = [
        *(Conversation(f"forum-copy-{i}", c.messages, "forum", c.extra) for i, c in enumerate(repeated)),
        *(_trace(UNTIDY, p, f"forum-leak-{i}", rng) for i, p in enumerate(leaked)),
        *(_trace(UNTIDY, p, f"forum-{i}", rng) for i, p in enumerate(asked)),
    ]
    drills = chain_problems(seed * 10 + 4, exercises, TRAINED, unique=False)
    write_conversations(folder / "tutor.jsonl", tutor)
    write_conversations(folder / "forum.jsonl", forum)
    write_problems(folder / "exercises.jsonl", [_numbered(p, i) for i, p in enumerate(drills)])
    write_problems(folder / "heldout.jsonl", heldout)


def write_code(folder: Path, seed: int, exam: int, programs: int) -> None:
    """The files of code; arguments as in ``write_world``. The exam and what is trained on are disjoint."""
    rng = np.random.default_rng([seed, 12])
    problems = code_problems(seed, exam + programs)
    asked, kata = ([to_problem(problem) for problem in part] for part in (problems[:exam], problems[exam:]))
    write_problems(folder / "heldout-code.jsonl", asked)
    write_problems(folder / "kata.jsonl", with_faulty_tests(seed, problems[exam:]))
    write_problems(folder / "mirror.jsonl", planted_problems(seed, kata, asked, each=min(120, programs // 4)))
    write_conversations(folder / "coach.jsonl", [_program(problem, rng) for problem in problems[exam:]])


def _program(problem: CodeProblem, rng: np.random.Generator) -> Conversation:
    answer: Message = {"role": "assistant", "content": programmed(problem, rng)}
    prompt = to_problem(problem).prompt
    return Conversation(f"coach-{problem.id}", (*prompt, answer), "coach", {"difficulty": f"code {problem.difficulty}"})


def _trace(teacher: Teacher, problem: Problem, name: str, rng: np.random.Generator) -> Conversation:
    answer: Message = {"role": "assistant", "content": teacher.solve(problem, rng)}
    return Conversation(name, (*problem.prompt, answer), teacher.name, {"difficulty": problem.difficulty})


def _numbered(problem: Problem, i: int) -> Problem:
    """The same problem under an id of its own: sources number their rows, and may hold a problem twice."""
    return Problem(
        f"exercise-{i}", problem.prompt, problem.ability, problem.ground_truth, problem.data_source, problem.extra
    )
