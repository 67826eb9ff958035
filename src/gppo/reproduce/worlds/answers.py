"""Right and wrong answers to easy problems and to hard ones: answers.jsonl, and the exam heldout.jsonl.

An easy problem is a chain of two additions, a hard one of five. A wrong answer has exactly one wrong step, off by one
or two at random, and goes on from it without a further mistake. In a hard chain it is one of the last two, so that most
of a wrong answer is right; in an easy chain it is half of the work.
"""

from pathlib import Path

import numpy as np

from gppo.miniature.math_world import chain_terms
from gppo.records import Conversation, write_conversations, write_problems
from gppo.reproduce.worlds.traces import apart, drawn_chains, exam_chains, trace
from gppo.types import Problem

EASY, HARD = 2, 5
#: How often an answer to a problem of so many additions is right; also what the column ``pass_rate`` says of it.
PASS_RATES = {EASY: 0.7, HARD: 0.1}
_LATE = 2  # steps at the end of a hard chain
_EXAM, _TRACES = 160, 1000


def write_answers(folder: Path, seed: int) -> None:
    """Write the answers and the exam.

    ``extra_info`` of an answer has ``pass_rate`` and its opposite ``fail_rate``, which turns a policy around.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([seed, 22])
    exam = exam_chains(rng, _EXAM, (EASY, HARD))
    problems = apart(drawn_chains(rng, _TRACES, (EASY, HARD)), exam)
    write_problems(folder / "heldout.jsonl", exam)
    write_conversations(folder / "answers.jsonl", [_answer(p, i, rng) for i, p in enumerate(problems)])


def _answer(problem: Problem, number: int, rng: np.random.Generator) -> Conversation:
    terms = chain_terms(problem)
    additions = len(terms) - 1
    pass_rate = PASS_RATES[additions]
    first = additions - _LATE if additions == HARD else 0
    wrong_at = int(rng.integers(first, additions)) if rng.random() >= pass_rate else None
    rates = {"pass_rate": pass_rate, "fail_rate": round(1 - pass_rate, 3)}
    return trace(problem, _written_out(terms, wrong_at, rng), f"answer-{number}", "answers", **rates)


def _written_out(terms: tuple[int, ...], wrong_at: int | None, rng: np.random.Generator) -> str:
    """The chain step by step, with a wrong result in the step of that number, from 0."""
    total, steps = terms[0], []
    for number, term in enumerate(terms[1:]):
        result = total + term
        if number == wrong_at:
            result += int(rng.choice((-2, -1, 1, 2)))
        steps.append(f"{total}+{term}={result}")
        total = result
    return "<think>" + "\n".join(steps) + f"</think>\\boxed{{{total}}}"
