import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gppo.config import CurateConfig
from gppo.curate import curate
from gppo.miniature.code_world import CodeProblem
from gppo.records import read_conversations, read_problems
from gppo.reproduce.experiment import find_experiment
from gppo.reproduce.worlds import WORLDS
from gppo.reproduce.worlds.programs import few_tests, misjudged, spoiled
from gppo.run import RunFolder
from gppo.types import Problem

CAPPED = CodeProblem(
    id="capped",
    statement="f(n): n, but at most 5",
    solution="def f(n): return min(n,5)",
    misconception="def f(n): return min(n,4)",
    inputs=("3", "5", "6", "4", "9", "2", "7", "1"),
    outputs=("3", "5", "5", "4", "5", "2", "5", "1"),
    faulty_tests=(),
    difficulty=1,
    family="at most",
)


def passes(source: str, problem: Problem) -> list[bool]:
    """Which tests of a record a program passes; written apart from the world's own way."""
    namespace: dict = {}
    exec(source, namespace)
    tests = json.loads(problem.ground_truth)
    found = []
    for given, expected in zip(tests["inputs"], tests["outputs"], strict=True):
        arguments = [json.loads(line) for line in given.split("\n")]
        found.append(namespace[tests["fn_name"]](*arguments) == json.loads(expected))
    return found


def test_few_tests_keep_half_that_the_misconception_passes():
    # min(n, 4) is right for 3, 4, 2, 1 and wrong for 5, 6, 9, 7: the first two of each stay, in order.
    assert few_tests(CAPPED, 4).inputs == ("3", "5", "6", "4")
    assert few_tests(CAPPED, 4).outputs == ("3", "5", "5", "4")


def test_misjudged_problem_expects_what_the_misconception_gives():
    found = misjudged(CAPPED)
    assert found.outputs == ("3", "4", "4", "4", "4", "2", "4", "1")
    assert found.faulty_tests == (1, 2, 4, 6)
    assert found.inputs == CAPPED.inputs


def test_spoiled_tests_are_off_by_one_to_three_and_at_least_one_is():
    counts = []
    for seed in range(200):
        found = spoiled(CAPPED, np.random.default_rng(seed))
        off = [int(a) - int(b) for a, b in zip(found.outputs, CAPPED.outputs, strict=True)]
        assert tuple(i for i, by in enumerate(off) if by) == found.faulty_tests
        assert set(map(abs, off)) <= {0, 1, 2, 3}
        counts.append(len(found.faulty_tests))
    assert min(counts) == 1
    # One certain fault, and each of the other seven with chance 1/4: 2.75 of eight, standard error 0.08.
    assert np.mean(counts) == pytest.approx(2.75, abs=0.3)


def test_one_item_of_a_list_is_off():
    problem = CodeProblem("n", "", "", "", ("[1]",), ("[4, 5, 6]",), (), 3, "change each")
    found = json.loads(spoiled(problem, np.random.default_rng(0)).outputs[0])
    assert sorted(a != b for a, b in zip(found, [4, 5, 6], strict=True)) == [False, False, True]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("worlds") / "faulty"
    WORLDS["faulty_programs"](folder, 0)
    return folder


def test_solutions_pass_everything_and_misconceptions_half(world):
    for name in ("exam", "kata"):
        for problem in read_problems(world / f"{name}.jsonl"):
            assert passes(problem.extra["solution"], problem) == [True] * 8
            assert sum(passes(problem.extra["misconception"], problem)) == 4


def test_coach_misreads_nine_in_ten_and_never_saw_the_exam(world):
    exam = {problem.prompt[0]["content"] for problem in read_problems(world / "exam.jsonl")}
    kata = {problem.prompt[0]["content"]: problem for problem in read_problems(world / "kata.jsonl")}
    assert len(exam) == 48
    assert len(kata) == 717
    assert not exam & set(kata)
    kinds: Counter[str] = Counter()
    for trace in read_conversations(world / "coach.jsonl"):
        problem, program = kata[trace.messages[0]["content"]], trace.messages[1]["content"].split("\n")[1]
        kinds["wrong" if program == problem.extra["misconception"] else "right"] += 1
        assert program in (problem.extra["solution"], problem.extra["misconception"])
    assert kinds.total() == 3 * 717
    assert kinds["wrong"] / kinds.total() == pytest.approx(0.9, abs=0.03)  # standard error 0.007


@pytest.mark.parametrize(("name", "share"), [("some-faulty", 0.16), ("half-faulty", 0.5)])
def test_faults_are_of_two_kinds_and_the_strong_models_share_tells_them(world, name, share):
    kinds: Counter[str] = Counter()
    shares: dict[str, list[float]] = {"sound": [], "off": [], "misjudged": []}
    sound_problems = {problem.id: problem for problem in read_problems(world / "kata.jsonl")}
    for problem in read_problems(world / f"{name}.jsonl"):
        right, wrong = (passes(problem.extra[key], problem) for key in ("solution", "misconception"))
        assert [i for i, passed in enumerate(right) if not passed] == problem.extra["faulty_tests"]
        kind = "sound" if all(right) else "misjudged" if all(wrong) else "off"
        kinds[kind] += 1
        shares[kind].append(problem.extra["pass_share"])
        if kind == "sound":
            assert problem.ground_truth == sound_problems[problem.id].ground_truth
    faulty = kinds["off"] + kinds["misjudged"]
    assert faulty / kinds.total() == pytest.approx(share, abs=0.04)  # standard errors 0.014 and 0.019
    assert kinds["off"] / faulty == pytest.approx(0.5, abs=0.15)  # standard errors 0.047 and 0.026
    assert set(shares["off"]) == {0.0}
    assert 0.7 < np.mean(shares["sound"]) < 0.9  # 0.9, 0.8 and 0.7 for the three difficulties
    assert np.mean(shares["misjudged"]) == pytest.approx(1 - np.mean(shares["sound"]), abs=0.05)


def test_more_faults_are_the_same_ones_and_others(world):
    some, half, kata = (
        {problem.id: problem.ground_truth for problem in read_problems(world / f"{name}.jsonl")}
        for name in ("some-faulty", "half-faulty", "kata")
    )
    faulty = {name for name in kata if some[name] != kata[name]}
    assert faulty
    assert all(half[name] == some[name] for name in faulty)


@pytest.mark.parametrize(("name", "kept", "sound_lost"), [("some-faulty", 583, 20), ("half-faulty", 351, None)])
def test_the_filter_keeps_what_the_experiment_says(world, tmp_path, name, kept, sound_lost):
    source = read_problems(world / f"{name}.jsonl")
    filtering = [{"step": "exact_dedup"}, {"step": "pass_share", "column": "pass_share", "above": 0.5}]
    config = CurateConfig.model_validate(
        {
            "name": "RL set",
            "sources": [{"name": "kata", "data": world / f"{name}.jsonl"}],
            "steps": filtering,
            "output": tmp_path / "rl.jsonl",
        }
    )
    curate(config, RunFolder.create(tmp_path / "run", "name: x\n"), seed=0)
    left = {problem.id for problem in read_problems(tmp_path / "rl.jsonl")}
    assert len(left) == kept
    stated = find_experiment("test-filter").read_text()
    assert str(kept) in stated
    assert f"{len(source) - kept} of {len(source)}" in stated
    if sound_lost is not None:
        lost = [problem for problem in source if problem.id not in left and not problem.extra["faulty_tests"]]
        assert len(lost) == sound_lost
        assert not any(problem.extra["faulty_tests"] for problem in source if problem.id in left)


def test_a_world_is_the_same_for_the_same_seed(world, tmp_path):
    WORLDS["programs"](tmp_path / "again", 0)
    for name in ("coach.jsonl", "kata.jsonl", "exam.jsonl"):
        assert (tmp_path / "again" / name).read_bytes() == (world / name).read_bytes()
    WORLDS["programs"](tmp_path / "other", 1)
    assert (tmp_path / "other" / "exam.jsonl").read_bytes() != (world / "exam.jsonl").read_bytes()
