"""Judging answers: thinking, extraction, comparison, and worker processes that can be killed. Never loads torch."""

from gppo.verify.cascade import compare
from gppo.verify.extract import extract_answer
from gppo.verify.files import verify_math_file
from gppo.verify.judge import MathJudge, verify
from gppo.verify.pool import JudgePool
from gppo.verify.rewards import compute_score, math_reward
from gppo.verify.thinking import Thinking, format_kept, split_thinking

__all__ = [
    "JudgePool",
    "MathJudge",
    "Thinking",
    "compare",
    "compute_score",
    "extract_answer",
    "format_kept",
    "math_reward",
    "split_thinking",
    "verify",
    "verify_math_file",
]
