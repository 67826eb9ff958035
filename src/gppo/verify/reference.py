"""The answer of a reference: all that it boxes, or what a solution states."""

import re

from gppo.verify.extract import find_boxes, last_list, percent_follows
from gppo.verify.lenient import stated_answer

_UNCLOSED = re.compile(r"\s*\\{1,4}(?:boxed|fbox)\s*\{")


def read_reference(gold: str) -> str:
    r"""The reference answer without the boxes and the solution that some data sets leave around it.

    Boxes that are joined belong together here: ``\boxed{1} and \boxed{2}`` is a list, and nobody corrects himself.
    """
    found = find_boxes(gold) if "box" in gold else []
    if found:
        answer = last_list(gold, found, touching=True)
        return answer + r"\%" if percent_follows(gold, found[-1]) and "%" not in answer else answer
    unclosed = _UNCLOSED.match(gold)
    if unclosed:
        return gold[unclosed.end() :]
    return (stated_answer(gold) if "####" in gold or len(gold) > 200 else None) or gold
