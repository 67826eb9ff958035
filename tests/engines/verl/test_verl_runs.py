"""Recipes run by the real verl: a local Ray, two workers, FSDP2 on gloo, our judges, our run folder."""

import os
import re
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("verl", reason="verl is not installed here; make test-verl makes an environment for it")

from verl_world import (
    DIGITS,
    answer_of,
    below,
    changed_problems,
    gppo,
    log_of,
    problems,
    processes_of_ray,
    rl_recipe,
    start_gppo,
    tensors,
    wait_for,
)

from gppo.evaluate import load_evaluations
from gppo.run import RunFolder
from gppo.run.rollouts import read_rollouts

pytestmark = pytest.mark.usefixtures("nothing_is_left")

#: Narrow bounds, so that small steps, which leave the tiny model whole, move ratios past them.
BOUNDS = {"epsilon_low": 0.02, "epsilon_high": 0.02}


def check_run(world: Path, objective: str) -> RunFolder:
    """What holds of three steps of every objective."""
    run = RunFolder.open(world / "runs" / objective)
    lines = run.read_metrics("rl")
    assert [line["step"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert line["engine"] == "verl"
        assert line["grad_norm"] > 0
        assert line["infra_share"] == 0
        assert 0 < line["correct_share"] < 1, "right and wrong answers, told apart by our judges"
        assert line["lm_loss"] > 0
        assert line["lm_mass"] == pytest.approx(line["lm_expected"], abs=1e-5)
        assert line["clip_fraction"] > 0, "later updates of a step have ratios past a bound"
        assert (line["given_back"] > 0) == (objective != "clip_higher")
    check_rollouts(world, run, lines)
    before, after = tensors(world / "model"), tensors(run.checkpoints / "rl" / "step-000003")
    assert before.keys() == after.keys()
    assert any((before[key] != after[key]).any() for key in before)
    assert after["model.embed_tokens.weight"].dtype == before["model.embed_tokens.weight"].dtype  # not rounded
    return run


def check_rollouts(world: Path, run: RunFolder, lines: list[dict]) -> None:
    """Each response has the reward that its text deserves, and each group the advantages of its rewards."""
    asked = {row["extra_info"]["id"]: row for row in problems(world)}
    seen = set()
    for line in lines:
        rows = read_rollouts(run.rollouts, line["step"])
        assert len(rows) == 32
        assert np.mean([row.reward for row in rows]) == pytest.approx(line["reward_mean"])
        assert np.mean([row.reward == 1.0 for row in rows]) == pytest.approx(line["correct_share"])
        for row in rows:
            ability, digit = asked[row.problem_id]["ability"], asked[row.problem_id]["extra_info"]["digit"]
            for said in DIGITS:
                if row.response_text == answer_of(ability, said):
                    seen.add((ability, said == digit))
                    lowest = -1.0 if ability == "math" else 0.0
                    assert row.reward == (1.0 if said == digit else lowest)
                    assert row.verdict == ("correct" if said == digit else "wrong")
        for name in {row.problem_id for row in rows}:
            group = [row for row in rows if row.problem_id == name]
            rewards = np.array([row.reward for row in group])
            assert sorted(row.sample for row in group) == [0, 1, 2, 3]
            expected = (rewards - rewards.mean()) / (rewards.std() or 1.0)
            assert [row.advantage for row in group] == pytest.approx(expected.tolist(), abs=1e-4)
    assert seen == {("math", True), ("math", False), ("code", True), ("code", False)}


@pytest.mark.parametrize("objective", ["gppo", "ce_gppo"])
def test_three_steps_of_a_recipe(world, objective):
    recipe = rl_recipe(world, objective, objective={"name": objective, "params": BOUNDS})
    status, said = gppo("rl", recipe, "--engine", "verl")
    assert status == 0, said + log_of(world, objective)
    run = check_run(world, objective)
    if objective == "gppo":
        log = run.path / "verl" / "rl-1" / "verl.log"
        size = log.stat().st_size
        status, said = gppo("rl", recipe, "--engine", "verl")
        assert status == 0, said
        assert log.stat().st_size == size, "nothing is left to do, so verl is not started"
        status, said = gppo("eval", recipe)
        assert status == 0, said
        assert "step-000003" in said
        (scored,) = load_evaluations(run.evaluations)
        assert scored.step == 3
        assert scored.valid_PK.all()
        assert 0 < scored.correct_PK.mean() < 1, "it answers as the model in verl did"


def test_three_steps_survive_a_killed_worker(world):
    """Clip-Higher; the worker of a rank is killed after the first checkpoint, and the run goes on from it."""
    recipe = rl_recipe(world, "clip_higher", objective={"name": "clip_higher", "params": BOUNDS})
    measured = (
        world / "runs" / "clip_higher" / "verl" / "rl-1" / "metrics.jsonl"
    )  # a step's line follows its checkpoint
    process = start_gppo("rl", recipe, "--engine", "verl")
    try:
        wait_for(lambda: measured.is_file() or process.poll() is not None, 500)
        workers = below(process.pid, "ray::WorkerDict")
        assert len(workers) == 2, log_of(world, "clip_higher")
        os.kill(workers[0], signal.SIGKILL)
        said, _ = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, said + log_of(world, "clip_higher")
    assert re.search(r"is started again: its checkpoint of step [12] is whole", said), said
    check_run(world, "clip_higher")
    assert (world / "runs" / "clip_higher" / "checkpoints" / "rl" / "step-000003" / "manifest.json").is_file()


def test_a_killed_command_takes_its_ray_with_it(world, ray_folder):
    process = start_gppo("rl", rl_recipe(world, "orphan"), "--engine", "verl")
    try:
        assert wait_for(lambda: below(process.pid, "raylet"), 300), log_of(world, "orphan")
        # Whoever reaches Ray's ports runs programs as this user, unless it asks for a token.
        assert psutil.Process(below(process.pid, "raylet")[0]).environ()["RAY_AUTH_MODE"] == "token"
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert wait_for(lambda: not processes_of_ray(ray_folder), 60), log_of(world, "orphan")


def test_problems_that_no_judge_knows_are_refused_before_anything_starts(world):
    recipe = changed_problems(world, "riddles", lambda row: row | {"ability": "riddles"})
    status, said = gppo("rl", recipe, "--engine", "verl")
    assert status == 2
    assert "'riddles'" in said
    assert not (world / "runs" / "riddles" / "verl" / "rl-1" / "verl.log").exists()
