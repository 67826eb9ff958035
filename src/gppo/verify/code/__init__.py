"""Judging programs: extraction, tests, runs in the sandbox, comparison. Never loads torch."""

from gppo.verify.code.compare import Mode, same_text, same_value
from gppo.verify.code.extract import extract_code
from gppo.verify.code.files import verify_code_file
from gppo.verify.code.judge import CASES, CodeJudge, CodeVerdict
from gppo.verify.code.rewards import code_reward
from gppo.verify.code.suite import AssertTests, BadTestsError, CallTests, StdinTests, Suite, choose, read_suite

__all__ = [
    "CASES",
    "AssertTests",
    "BadTestsError",
    "CallTests",
    "CodeJudge",
    "CodeVerdict",
    "Mode",
    "StdinTests",
    "Suite",
    "choose",
    "code_reward",
    "extract_code",
    "read_suite",
    "same_text",
    "same_value",
    "verify_code_file",
]
