r"""The math judge, usable alone: ``gppo.verify.math.verify(r"\frac{1}{2}", r"... so \boxed{0.5}")``.

Loads neither torch nor, for answers that need none, computer algebra. docs/math_judging.md says what counts as equal.
"""

from gppo.verify.cascade import compare, compare_plain
from gppo.verify.extract import extract_answer
from gppo.verify.judge import MathJudge, verify
from gppo.verify.pool import JudgePool

__all__ = ["JudgePool", "MathJudge", "compare", "compare_plain", "extract_answer", "verify"]
