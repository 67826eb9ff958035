"""Recipes sent to a Ray that runs already, as to a cluster: with a token, and nothing of ours in its environment."""

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("verl", reason="verl is not installed here; make test-verl makes an environment for it")

import torch
from verl_world import changed_problems, gppo, log_of, processes_of_ray, tensors, wait_for

from gppo.config import ModelConfig
from gppo.policy import encode_conversation, load_policy
from gppo.records import read_conversations
from gppo.run import RunFolder

pytestmark = pytest.mark.usefixtures("nothing_is_left")


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
