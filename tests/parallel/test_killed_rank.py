"""The command on two ranks, one of which is killed: all end, one says why, and the same command goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from gppo.cli.main import app
from gppo.miniature.math_world import chain_problem
from gppo.records import Conversation, write_conversations, write_problems

RECIPE = """
name: killed
device: cpu
threads: 1
model: {tiny: {hidden_size: 32, layers: 2, heads: 2, kv_heads: 1}, tokenizer: bytes, max_context: 64}
sft: {data: sft.jsonl, steps: 30, batch_size: 8, save_every: 0, optimizer: {learning_rate: 1.0e-2}}
rl:
  stages: [{name: math, data: rl.jsonl, steps: 4}]
  prompts_per_step: 4
  group_size: 4
  mini_batch_prompts: 2
  learning_rate: 1.0e-3
  max_prompt_tokens: 32
  max_response_tokens: 16
  micro_batch_tokens: 64
  overlong: {soft_buffer: 16}  # so that responses of other lengths have other rewards
  save_every: 1
  optimizer: {warmup_steps: 0}
evaluate:
  sets: [{name: held, data: rl.jsonl, limit: 5}]
  sampling: [{k: 2, temperature: 1.0}]
  max_response_tokens: 16
"""


@pytest.fixture
def begun(tmp_path, monkeypatch):
    """A folder with a recipe whose SFT is done."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    Path("recipe.yaml").write_text(RECIPE)
    turns = [
        ({"role": "user", "content": f"{i}+1=?"}, {"role": "assistant", "content": "7" * (1 + i % 4) + str(i + 1)})
        for i in range(10)
    ]
    write_conversations("sft.jsonl", [Conversation(str(i), turn) for i, turn in enumerate(turns)])
    write_problems("rl.jsonl", [chain_problem([1 + i, 9 - i]) for i in range(8)])
    app(["sft", "recipe.yaml", "--set", "run_dir=one"], standalone_mode=False)
    shutil.copytree("one", "two")
    return tmp_path


def steps_of(run: Path) -> list[dict]:
    lines = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    return [line for line in map(json.loads, lines) if line["kind"] == "rl"]


def kill_rank_1(launcher: subprocess.Popen, after: int) -> None:
    """SIGKILL to the process that torchrun has started as rank 1, once so many steps are done."""
    while len(steps_of(Path("two"))) < after:
        assert launcher.poll() is None
        time.sleep(0.02)
    for child in psutil.Process(launcher.pid).children():
        if child.environ().get("RANK") == "1":
            os.kill(child.pid, signal.SIGKILL)


def test_a_killed_rank_ends_all_and_the_run_goes_on(begun):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "gppo", "rl", "recipe.yaml", "--set", "run_dir=two"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb"}
    with open("said.txt", "wb") as said, subprocess.Popen(command, env=environment, stdout=said, stderr=said) as run:
        kill_rank_1(run, after=2)
        status = run.wait()
    text = Path("said.txt").read_text()
    assert status == 1
    assert text.count("error: rank 1 (process") == 1
    assert "Run the same command again to go on" in text
    assert "  File " not in text.partition("error: rank 1")[0], "no traceback of ours"

    for folder in ("one", "two"):  # the second goes on from what two ranks have saved
        app(["rl", "recipe.yaml", "--set", f"run_dir={folder}"], standalone_mode=False)
    one, two = steps_of(Path("one")), steps_of(Path("two"))
    assert [line["step"] for line in two] == [1, 2, 3, 4]
    for a, b in zip(one, two, strict=True):
        for key in ("reward_mean", "length_mean", "grad_norm", "entropy", "groups_kept", "updates", "lm_tokens"):
            assert b[key] == pytest.approx(a[key], rel=1e-4, abs=1e-6)
    assert sum(line["updates"] for line in one) > 2
    weights = [load_file(Path(run) / "checkpoints/rl/step-000004/model.safetensors") for run in ("one", "two")]
    apart_N = torch.cat([(weights[0][name] - weights[1][name]).abs().flatten() for name in weights[0]])
    # Adam divides a gradient by its own size: where that is rounding alone, so is a part of the step of 1e-3.
    assert (apart_N > 1e-5).sum() <= 3
    assert apart_N.max() < 1e-4
    # Two ranks made the evaluation before the first step: of the same weights, so with the same fingerprint.
    first = sorted(path.name for path in Path("one/evaluations").glob("step-000000*"))
    assert len(first) == 2
    for name in first:
        assert Path("two/evaluations", name).read_bytes() == Path("one/evaluations", name).read_bytes()
