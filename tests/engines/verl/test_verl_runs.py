"""Recipes run by the real verl: a local Ray, two workers, FSDP2 on gloo, our judges, our run folder."""

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed here; make test-verl makes an environment for it")

from verl_world import DIGITS, answer_of, below, gppo, make_world, processes_of_ray, rl_recipe, start_gppo, wait_for

from gppo.evaluate import load_evaluations
from gppo.run import RunFolder
from gppo.run.rollouts import read_rollouts

#: Narrow bounds, so that small steps, which leave the tiny model whole, move ratios past them.
BOUNDS = {"epsilon_low": 0.02, "epsilon_high": 0.02}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return make_world(tmp_path_factory.mktemp("verl"))


@pytest.fixture(scope="module")
def ray_folder() -> Iterator[Path]:
    """Where Ray keeps its files: no other Ray of this machine is met, and none of ours stays."""
    folder = Path(tempfile.mkdtemp(prefix="gppo-ray-", dir="/tmp"))  # the paths of Ray's sockets must be short
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(folder))
        patch.setenv("RAY_worker_niceness", "0")  # its 15 lets a busy machine starve them
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def nothing_is_left(ray_folder, request) -> Iterator[None]:
    """A run ends with all that it started, however it ended."""
    before = processes_of_ray(ray_folder)
    yield
    if "cluster" not in request.fixturenames:
        assert wait_for(lambda: set(processes_of_ray(ray_folder)) <= set(before), 60), processes_of_ray(ray_folder)


def tensors(folder: Path):
    from safetensors.torch import load_file

    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def log_of(world: Path, name: str, job: str = "rl-1") -> str:
    log = world / "runs" / name / "verl" / job / "verl.log"
    return log.read_text(errors="replace")[-4000:] if log.is_file() else ""


def problems(world: Path) -> list[dict]:
    return [json.loads(line) for line in (world / "problems.jsonl").read_text().splitlines()]


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
        assert wait_for(lambda: processes_of_ray(ray_folder), 300), log_of(world, "orphan")
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert wait_for(lambda: not processes_of_ray(ray_folder), 60), log_of(world, "orphan")


@pytest.fixture(scope="module")
def cluster(ray_folder) -> Iterator[str]:
    """The address of a Ray that runs already, started with a token and without a word of ours in its environment."""
    log = ray_folder / "start.log"
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("VERL_", "GPPO_"))}
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    command = [Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--port", "0"]
    with log.open("w") as file, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(
            [*command, "--num-cpus", "24", "--num-gpus", "2", "--include-dashboard", "false"],
            env=plain | token | {"RAY_prestart_worker_first_driver": "0"},
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        for key, value in token.items():
            patch.setenv(key, value)
        try:
            found = wait_for(lambda: "Ray runtime started" in log.read_text() or process.poll() is not None, 120)
            assert found, log.read_text()
            (address,) = set(re.findall(r"--address='([\d.]+:\d+)'", log.read_text()))
            yield address
        finally:
            process.terminate()
            process.wait(60)
    assert wait_for(lambda: not processes_of_ray(ray_folder), 60), processes_of_ray(ray_folder)


def test_sft_on_a_cluster_that_runs_already(world, cluster):
    path = world / "sft-run.yaml"
    path.write_text(json.dumps(_sft_recipe(world)))
    status, said = gppo("sft", path, "--engine", "verl", "--set", f"verl.address={cluster}")
    assert status == 0, said + log_of(world, "sft-run", "sft")
    run = RunFolder.open(world / "runs" / "sft-run")
    lines = run.read_metrics("sft")
    assert [line["step"] for line in lines] == [1, 2, 3]
    # The world's model knows this data already: the loss is that of our own engine on such a batch.
    assert lines[0]["loss"] == pytest.approx(_own_loss(world), abs=0.1)
    assert tensors(run.checkpoints / "sft" / "step-000003").keys() == tensors(world / "model").keys()


def _sft_recipe(world: Path) -> dict:
    return {
        "name": "sft-run",
        "run_dir": str(world / "runs" / "sft-run"),
        "device": "cpu",
        "model": {"path": str(world / "model"), "max_context": 128},
        "sft": {
            "data": str(world / "sft.jsonl"),
            "steps": 3,
            "batch_size": 32,
            "max_length": 128,
            "micro_batch_tokens": 1024,
            "optimizer": {"learning_rate": 1e-5, "min_learning_rate": 5e-6},
        },
        "verl": {"gpus_per_node": 2},
    }


def _own_loss(world: Path) -> float:
    """Mean loss a token over all conversations, by our own policy."""
    import numpy as np
    import torch

    from gppo.config import ModelConfig
    from gppo.policy import encode_conversation, load_policy
    from gppo.records import read_conversations

    policy = load_policy(ModelConfig(path=str(world / "model")), seed=0)
    lost, count = 0.0, 0
    for item in read_conversations(world / "sft.jsonl"):
        ids_L, mask_L = encode_conversation(policy.tokenizer, item.messages)
        with torch.no_grad():
            logits = policy.model(torch.from_numpy(ids_L)[None]).logits[0, :-1].float()
        logprobs = logits.log_softmax(-1)[np.arange(len(ids_L) - 1), ids_L[1:]]
        lost -= float(logprobs[torch.from_numpy(mask_L[1:])].sum())
        count += int(mask_L[1:].sum())
    return lost / count


def changed_problems(world: Path, name: str, change) -> Path:
    path = world / f"{name}.jsonl"
    path.write_text("".join(json.dumps(change(row)) + "\n" for row in problems(world)))
    return rl_recipe(world, name, stages=[{"name": "digits", "data": str(path), "steps": 2}])


def test_responses_that_cannot_be_judged_are_no_wrong_answers_and_stop_the_run(world, cluster):
    """Half of the problems have tests that cannot be used: their responses are lost, and more than 5 % are too many."""

    def spoil(row):
        return row | {"reward_model": {"style": "rule", "ground_truth": "{}"}} if row["ability"] == "code" else row

    recipe = changed_problems(world, "unjudged", spoil)
    status, said = gppo(
        "rl", recipe, "--engine", "verl", "--set", "verl.restarts=0", "--set", f"verl.address={cluster}"
    )
    assert status == 1, said + log_of(world, "unjudged")
    assert "Traceback" not in said
    assert "of the responses were lost in sampling or judging" in said
    assert not RunFolder.open(world / "runs" / "unjudged").read_metrics("rl")


def test_problems_that_no_judge_knows_are_refused_before_anything_starts(world):
    recipe = changed_problems(world, "riddles", lambda row: row | {"ability": "riddles"})
    status, said = gppo("rl", recipe, "--engine", "verl")
    assert status == 2
    assert "'riddles'" in said
    assert not (world / "runs" / "riddles" / "verl" / "rl-1" / "verl.log").exists()
