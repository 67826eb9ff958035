"""Teachers: who writes the reasoning that the miniature's student is fine-tuned on, and what is wrong with it."""

from dataclasses import dataclass

import numpy as np

from gppo.miniature.code_world import CodeProblem
from gppo.miniature.math_world import MISCONCEIVED_AS, MISCONCEIVED_DIGIT, chain_terms
from gppo.types import Problem


@dataclass(frozen=True, slots=True)
class Teacher:
    """How a teacher writes.

    Args:
        name: for tables.
        slip: chance that a step comes out wrong by one or two, at random.
        misconception: chance that a step "+7" is done as "+6".
        untidy: chance that a solution leaves out the think tags or the steps.
    """

    name: str
    slip: float = 0.0
    misconception: float = 0.0
    untidy: float = 0.0

    def solve(self, problem: Problem, rng: np.random.Generator) -> str:
        """One written-out solution, right or wrong as the teacher is."""
        terms = chain_terms(problem)
        total, steps = terms[0], []
        for term in terms[1:]:
            result = total + term
            if term == MISCONCEIVED_DIGIT and rng.random() < self.misconception:
                result = total + MISCONCEIVED_AS
            elif rng.random() < self.slip:
                result += int(rng.choice((-2, -1, 1, 2)))
            steps.append(f"{total}+{term}={result}")
            total = result
        if rng.random() < self.untidy:
            return f"{total}" if rng.random() < 0.5 else "\n".join(steps) + f"\n\\boxed{{{total}}}"
        return "<think>" + "\n".join(steps) + f"</think>\\boxed{{{total}}}"


CAREFUL = Teacher("careful", slip=0.01)
SLIPPING = Teacher("slipping", slip=0.3)
MISLED = Teacher("misled", slip=0.04, misconception=0.93)
UNTIDY = Teacher("untidy", slip=0.04, misconception=0.93, untidy=0.5)


def programmed(problem: CodeProblem, rng: np.random.Generator, misconception: float = 0.9) -> str:
    """A written-out program by a tutor who misreads the problem with that chance, always in the problem's own way."""
    source = problem.misconception if rng.random() < misconception else problem.solution
    return f"<think>{problem.family}</think>```\n{source}\n```"
