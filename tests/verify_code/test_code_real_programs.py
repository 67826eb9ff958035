"""A sample of real programs; `scripts/judge_real_programs.py` judges all of them."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
#: References that cannot pass, see docs/code_judging.md: tests that forget an import, modules the sandbox has not.
KNOWN = {"Mbpp/120"}
FOREIGN = ("import numpy", "from sortedcontainers")


@pytest.fixture(scope="module")
def real():
    yield _script("judge_real_programs")
    del sys.modules["judge_real_programs"]


def _script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("name", "number"), [("leetcode", 30), ("mbpp", 12), ("mbpp+", 8), ("humaneval", 10)])
def test_references_pass_and_altered_ones_do_not(judge, data, real, name, number):
    programs = [p for p in real.SETS[name](data) if p.id not in KNOWN and not any(f in p.source for f in FOREIGN)]
    chosen = real.sample(programs, number)
    assert len(chosen) == number
    plain = [judge.submit_program(p.source, p.suite) for p in chosen]
    altered = [judge.submit_program(p.altered, p.suite) for p in chosen]
    assert [(p.id, f.result().rule) for p, f in zip(chosen, plain, strict=True) if not f.result().correct] == []
    assert [p.id for p, f in zip(chosen, altered, strict=True) if f.result().correct] == []


def test_records_for_code_rl_are_judged_like_the_references(judge, data, real):
    records = _script("leetcode_records")
    rows = json.loads((data / "leetcode" / "rllm_leetcode_train.json").read_text(encoding="utf-8"))[:6]
    problems = [records.leetcode_problem(row, i) for i, row in enumerate(rows)]
    right = [judge.submit(p, f"```python\n{row['solutions']}\n```") for p, row in zip(problems, rows, strict=True)]
    wrong = [judge.submit(p, "```python\nclass Solution:\n    pass\n```") for p in problems]
    assert [future.result().score for future in right] == [1.0] * 6
    assert [future.result().score for future in wrong] == [0.0] * 6
    assert all("assert" in p.ground_truth and p.ability == "code" for p in problems)
