"""A sample of real programs; `scripts/judge_real_programs.py` judges all of them."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "judge_real_programs.py"
#: References that cannot pass, see docs/code_judging.md: tests that forget an import, modules the sandbox has not.
KNOWN = {"Mbpp/120"}
FOREIGN = ("import numpy", "from sortedcontainers")


@pytest.fixture(scope="module")
def real():
    spec = importlib.util.spec_from_file_location("judge_real_programs", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.mark.parametrize(("name", "number"), [("leetcode", 30), ("mbpp", 12), ("mbpp+", 8), ("humaneval", 10)])
def test_references_pass_and_altered_ones_do_not(judge, data, real, name, number):
    programs = [p for p in real.SETS[name](data) if p.id not in KNOWN and not any(f in p.source for f in FOREIGN)]
    chosen = real.sample(programs, number)
    assert len(chosen) == number
    plain = [judge.submit_program(p.source, p.suite) for p in chosen]
    altered = [judge.submit_program(p.altered, p.suite) for p in chosen]
    assert [(p.id, f.result().rule) for p, f in zip(chosen, plain, strict=True) if not f.result().correct] == []
    assert [p.id for p, f in zip(chosen, altered, strict=True) if f.result().correct] == []
