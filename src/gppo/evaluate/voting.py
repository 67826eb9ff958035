"""Which samples of a problem gave the same answer."""

from collections.abc import Sequence

import numpy as np

from gppo.verify.cascade import compare_plain


def vote_classes(answers_K: Sequence[str | None], right_K: Sequence[bool]) -> np.ndarray:
    """Equal numbers for equal answers, int64 [k], from 0 in the order in which answers appear; -1 for no answer.

    Answers that were judged right are one class, as all of them equal the reference. Any other answer joins the first
    class whose first member equals it by the judge of math, else it begins one; the judge is asked with that member as
    the reference. Where only computer algebra could tell, the two are taken as different: a time limit would decide
    otherwise on another machine, and the 64 odd answers of one question would be two thousand calls.

    Args:
        answers_K: what was extracted from each sample; None casts no vote.
        right_K: whether it was judged right.
    """
    classes: list[str | None] = []  # the first member of each; None for the class of right answers
    class_of: dict[str, int] = {}
    votes_K = np.full(len(answers_K), -1, dtype=np.int64)
    right_class: int | None = None
    for i, (answer, right) in enumerate(zip(answers_K, right_K, strict=True)):
        if answer is None:
            continue
        if right:
            if right_class is None:
                right_class = len(classes)
                classes.append(None)
            votes_K[i] = right_class
            continue
        if answer not in class_of:
            found = (n for n, first in enumerate(classes) if first is not None and same_answer(first, answer))
            class_of[answer] = next(found, len(classes))
            if class_of[answer] == len(classes):
                classes.append(answer)
        votes_K[i] = class_of[answer]
    return votes_K


def same_answer(first: str, second: str) -> bool:
    """Whether two answers are equal by those rules of the judge of math that need no computer algebra."""
    decided = compare_plain(first, second)
    return decided is not None and decided[0]
