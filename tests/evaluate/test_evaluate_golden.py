"""Golden runs on a sample; ``scripts/golden_evaluation.py`` makes them in full."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from gppo.types import GppoError
from gppo.verify.cases import CaseJudge

SCRIPTS = Path(__file__).parents[2] / "scripts"
DATA = Path(os.environ.get("GPPO_DATA") or Path(__file__).parents[3] / "shared" / "data")
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}; set GPPO_DATA")


@pytest.fixture(scope="module")
def golden():
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("golden_evaluation", SCRIPTS / "golden_evaluation.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture(scope="module")
def judge():
    with CaseJudge(1, 5.0, tests_per_problem=None) as judge:
        yield judge


def clear(golden, judge, case, folder):
    number, held = golden.run(case, judge, folder)
    assert held, f"{case.name}: {number:.2%}, and the bar is {case.bar}"


def test_real_outputs_agree_with_their_labels(golden, judge, tmp_path):
    clear(golden, judge, golden.labelled_math(DATA), tmp_path)


def test_thoughts_that_end_count_and_those_that_do_not_never_do(golden, judge, tmp_path):
    whole, cut = golden.long_thoughts(DATA)
    assert len(whole.outputs) > 10
    assert len(cut.outputs) == 100
    clear(golden, judge, whole, tmp_path)
    clear(golden, judge, cut, tmp_path)


def test_hmmt_with_gold_shuffled_unfinished_and_cut_answers(golden, judge, tmp_path):
    cases = list(golden.hmmt(DATA))
    assert [case.bar for case in cases] == ["100 %", "<= 5 %", "0 %", "0 %"]
    for case in cases:
        clear(golden, judge, case, tmp_path)


@pytest.mark.parametrize(("which", "number"), [("humaneval", 8), ("mbpp", 8), ("leetcode", 8), ("livecodebench", 4)])
def test_reference_programs_pass(golden, judge, tmp_path, which, number):
    found = getattr(golden, which)(*((DATA, tmp_path) if which == "livecodebench" else (DATA,)))
    for case in [found] if isinstance(found, golden.Case) else found:
        kept = golden.sampled(case, number)
        assert len(kept.outputs) == number
        try:
            number_found, _ = golden.run(kept, judge, tmp_path)
        except GppoError as error:
            pytest.skip(str(error))  # programs cannot be isolated here
        assert number_found == 1.0
