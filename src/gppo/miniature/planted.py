"""What is planted in the demo's sources for curation to find, and whether it was found.

A planted row's id begins with its kind. ``mirror`` copies programming problems in other letters, repeats some in other
words, and leaks exam problems; every other problem of that world asks something else, so what a rule removes there and
is not planted is a mistake. Everything planted goes, so the sets that the student learns from are as without it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from rich.table import Table

from gppo.curate import CurateResult
from gppo.types import Problem

#: How the id of a planted row begins -> the rule that should remove it.
RULES = {
    "planted-copy": "exact duplicate",
    "planted-reworded": "near duplicate",
    "planted-leak": "meets an evaluation problem",
}
_FEWEST_WORDS = 10  # of a problem that is reworded: one word more then leaves 8 of 9 n-grams
_OPENINGS = ("Please", "Now", "Kindly", "Next")


def planted_problems(seed: int, problems: Sequence[Problem], exam: Sequence[Problem], each: int) -> list[Problem]:
    """``each`` copies and rewordings of problems, and half as many leaks of exam problems, mixed."""
    rng = np.random.default_rng([seed, 13])
    long = [problem for problem in problems if len(_text(problem).split()) >= _FEWEST_WORDS]
    planted = [
        *(
            _with(problem, f"planted-copy-{i}", _in_other_letters(problem))
            for i, problem in _drawn(rng, problems, each)
        ),
        *(
            _with(problem, f"planted-reworded-{i}", f"{_OPENINGS[i % len(_OPENINGS)]} {_text(problem)}")
            for i, problem in _drawn(rng, long, each)
        ),
        *(
            _with(problem, f"planted-leak-{i}", _in_other_letters(problem))
            for i, problem in _drawn(rng, exam, each // 2)
        ),
    ]
    return [planted[i] for i in rng.permutation(len(planted))]


@dataclass(frozen=True, slots=True)
class Found:
    """How well a rule did.

    Args:
        rule: of curation.
        planted: rows that it should remove.
        found: those of them that it removed.
        removed: all rows that it removed.
    """

    rule: str
    planted: int
    found: int
    removed: int

    @property
    def recall(self) -> float:
        """Share of the planted rows that were found."""
        return self.found / self.planted

    @property
    def precision(self) -> float:
        """Share of the removed rows that were planted; 1 where none was removed."""
        return self.found / self.removed if self.removed else 1.0


def found_planted(result: CurateResult, planted: Sequence[Problem]) -> list[Found]:
    """What each rule found of what was planted in the sources of a set."""
    expected = Counter(_rule(problem.id) for problem in planted)
    removed: Counter[str] = Counter()
    found: Counter[str] = Counter()
    for ledger in result.spool.ledgers:
        for line in ledger.removals():
            removed[line["rule"]] += 1
            found[line["rule"]] += _rule(line["id"]) == line["rule"]
    return [Found(rule, number, found[rule], removed[rule]) for rule, number in expected.items() if rule]


def planted_table(found: Sequence[Found]) -> Table:
    """Recall and precision of each rule."""
    table = Table(title="What was planted, and what curation found of it")
    table.add_column("rule")
    for heading in ("planted", "found", "recall", "precision"):
        table.add_column(heading, justify="right")
    for one in found:
        table.add_row(one.rule, str(one.planted), str(one.found), f"{one.recall:.1%}", f"{one.precision:.1%}")
    return table


def _rule(name: str) -> str:
    return next((rule for begins, rule in RULES.items() if name.startswith(f"{begins}-")), "")


def _drawn(rng: np.random.Generator, problems: Sequence[Problem], count: int) -> list[tuple[int, Problem]]:
    chosen = rng.choice(len(problems), size=min(count, len(problems)), replace=False)
    return [(i, problems[at]) for i, at in enumerate(chosen)]


def _text(problem: Problem) -> str:
    return problem.prompt[0]["content"]


def _in_other_letters(problem: Problem) -> str:
    return f" {_text(problem).upper()}\n".replace(" ", "  ")


def _with(problem: Problem, name: str, text: str) -> Problem:
    return replace(problem, id=name, prompt=({"role": "user", "content": text},))
