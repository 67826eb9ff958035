"""Recipes run by the real verl: a local Ray, two workers, FSDP2 on gloo, our judges, our run folder."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed here; make test-verl makes an environment for it")

from verl_world import gppo, make_world, rl_recipe

from gppo.run import RunFolder
from gppo.run.rollouts import read_rollouts


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    return make_world(tmp_path_factory.mktemp("verl"))


def tensors(folder: Path):
    from safetensors.torch import load_file

    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def processes_with(word: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("objective", ["gppo", "ce_gppo", "clip_higher"])
def test_three_steps_of_a_recipe(world, objective):
    recipe = rl_recipe(world, objective, objective={"name": objective})
    done = gppo("rl", recipe, "--engine", "verl")
    assert done.returncode == 0, done.stderr + log_of(world, objective)
    run = RunFolder.open(world / "runs" / objective)
    lines = run.read_metrics("rl")
    assert [line["step"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert line["engine"] == "verl"
        assert line["grad_norm"] > 0
        assert line["infra_share"] == 0
        assert line["lm_mass"] == pytest.approx(line["lm_expected"], abs=1e-5)
    assert 0 < lines[0]["correct_share"] < 1, "right and wrong answers, told apart by our judges"
    assert lines[0]["lm_loss"] > 0
    assert lines[0]["lm_mass"] > 0.5, "a mini-batch of two groups rarely has no right answer"
    assert any(line["clip_fraction"] > 0 for line in lines), "several updates a step must move ratios past a bound"
    given_back = max(line["given_back"] for line in lines)
    assert given_back == 0 if objective == "clip_higher" else given_back > 0

    rows = read_rollouts(run.rollouts, 2)
    assert len(rows) == 32
    assert {row.verdict for row in rows} <= {"correct", "wrong", "unparsable"}
    assert np.mean([row.reward for row in rows]) == pytest.approx(lines[1]["reward_mean"])
    for name in {row.problem_id for row in rows}:
        group = [row for row in rows if row.problem_id == name]
        assert sorted(row.sample for row in group) == [0, 1, 2, 3]
        assert sum(row.advantage for row in group) == pytest.approx(0, abs=1e-9)

    before, after = tensors(world / "model"), tensors(run.checkpoints / "rl" / "step-000003")
    assert before.keys() == after.keys()
    assert any((before[key] != after[key]).any() for key in before)
    assert after["model.embed_tokens.weight"].dtype == before["model.embed_tokens.weight"].dtype  # not rounded
    if objective == "gppo":
        again = gppo("rl", recipe, "--engine", "verl", timeout=60)  # nothing is left to do
        assert again.returncode == 0, again.stderr
        scored = gppo("eval", recipe)
        assert scored.returncode == 0, scored.stderr
        assert "step-000003" in scored.stderr
        assert any(run.evaluations.iterdir())


def log_of(world: Path, name: str) -> str:
    log = world / "runs" / name / "verl" / "rl-1" / "verl.log"
    return log.read_text(errors="replace")[-4000:] if log.is_file() else ""


def test_a_killed_worker_is_survived(world):
    """The worker of a rank is killed after the first checkpoint; the run goes on from it and ends whole."""
    recipe = rl_recipe(world, "killed")
    command = [sys.executable, "-m", "gppo.cli.main", "rl", str(recipe), "--engine", "verl"]
    folder = world / "runs" / "killed"
    measured = folder / "verl" / "rl-1" / "metrics.jsonl"  # a step's line comes after its checkpoint
    before = set(processes_with("ray::WorkerDict"))
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        deadline = time.monotonic() + 400
        while not measured.is_file() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        workers = sorted(set(processes_with("ray::WorkerDict")) - before)
        assert workers, log_of(world, "killed")
        os.kill(workers[0], signal.SIGKILL)
        said, _ = process.communicate(timeout=500)
    finally:
        process.kill()
    assert process.returncode == 0, said + log_of(world, "killed")
    assert "is started again" in said
    assert [line["step"] for line in RunFolder.open(folder).read_metrics("rl")] == [1, 2, 3]
    assert (folder / "checkpoints" / "rl" / "step-000003" / "manifest.json").is_file()


@pytest.fixture
def cluster(tmp_path) -> Iterator[str]:
    """A Ray that runs already: its address. Its processes need what verl's need on CPU."""
    ray, port = Path(sys.executable).with_name("ray"), 6421
    settings = {
        "VERL_PLATFORM": "cpu",
        "VERL_USE_EXTERNAL_MODULES": "gppo.bridges.verl.cpu",
        "RAY_AUTH_MODE": "disabled",
    }
    command = [ray, "start", "--head", "--block", "--port", str(port), "--num-cpus", "24", "--num-gpus", "2"]
    with (tmp_path / "ray.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--include-dashboard", "false"], env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + 120
            while not _answers(port) and time.monotonic() < deadline:
                time.sleep(0.2)
            time.sleep(5)  # the port answers before its node is known
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_sft_on_a_cluster_that_runs_already(world, cluster):
    path = world / "sft-run.yaml"
    path.write_text(json.dumps(_sft_recipe(world)))
    done = gppo("sft", path, "--engine", "verl", "--set", f"verl.address={cluster}")
    log = world / "runs" / "sft-run" / "verl" / "sft" / "verl.log"
    assert done.returncode == 0, done.stderr + log.read_text(errors="replace")[-4000:]
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
    rows = [json.loads(line) for line in (world / "problems.jsonl").read_text().splitlines()]
    path = world / f"{name}.jsonl"
    path.write_text("".join(json.dumps(change(row)) + "\n" for row in rows))
    return rl_recipe(world, name, stages=[{"name": "digits", "data": str(path), "steps": 2}])


def test_problems_that_no_judge_knows_are_refused_before_anything_starts(world):
    recipe = changed_problems(world, "riddles", lambda row: row | {"ability": "riddles"})
    done = gppo("rl", recipe, "--engine", "verl")
    assert done.returncode == 2
    assert "'riddles'" in done.stderr
    assert not (world / "runs" / "riddles" / "verl" / "rl-1" / "verl.log").exists()


def test_responses_that_cannot_be_judged_are_no_wrong_answers_and_stop_the_run(world):
    """Half of the problems have tests that cannot be used: their responses are lost, and more than 5 % are too many."""

    def spoil(row):
        return row | {"reward_model": {"style": "rule", "ground_truth": "{}"}} if row["ability"] == "code" else row

    recipe = changed_problems(world, "unjudged", spoil)
    done = gppo("rl", recipe, "--engine", "verl", "--set", "verl.restarts=0")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "of the responses were lost in sampling or judging" in done.stderr
    assert not RunFolder.open(world / "runs" / "unjudged").read_metrics("rl")
