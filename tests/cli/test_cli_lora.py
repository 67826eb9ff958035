"""Adapters through whole commands: fine-tuned, trained further, killed, gone on with, scored and exported."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from cli_runs import TINY, Warm, recipe
from safetensors.torch import load_file
from test_cli_runs import lines, started

from gppo.config import ModelConfig, TinyConfig
from gppo.policy import load_policy


def adapters(run: Path) -> bytes:
    newest = sorted((run / "checkpoints" / "rl").glob("step-*"))[-1]
    return (newest / "adapter_model.safetensors").read_bytes()


@pytest.mark.slow
def test_sft_rl_a_kill_evaluation_and_export(gppo: Warm, tmp_path: Path):
    rl = {"stages": [{"name": "math", "data": "train.jsonl", "steps": 12}], "save_every": 2, "save_rollouts": False}
    path = recipe(tmp_path, rl=rl, model=TINY | {"lora": {"rank": 4}})
    assert gppo("sft", path).status == 0
    shutil.copytree(tmp_path / "run", tmp_path / "whole")
    metrics = tmp_path / "run" / "metrics.jsonl"
    with started("rl", path, folder=tmp_path) as process:
        while '"step": 3,' not in metrics.read_text():  # SFT has two
            assert process.poll() is None
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    for folder in ("run", "whole"):
        done = gppo("rl", path, "--set", f"run_dir={folder}")
        assert done.status == 0, done.stderr
    assert lines(tmp_path / "run") == lines(tmp_path / "whole")
    assert adapters(tmp_path / "run") == adapters(tmp_path / "whole")
    assert gppo("eval", path).status == 0

    done = gppo("export", "run", "out")
    assert (done.status, done.stdout) == (0, "run/checkpoints/rl/step-000012 written to out\n"), done.stderr
    merged = load_file(tmp_path / "out" / "model.safetensors")
    shape = TinyConfig.model_validate(TINY["tiny"])
    base = load_policy(ModelConfig(tiny=shape, tokenizer="bytes", max_context=64), seed=0).model.state_dict()
    assert merged.keys() == base.keys() - {"lm_head.weight"}  # tied
    changed = {name for name, value in merged.items() if not value.equal(base[name])}
    assert changed == {name for name in merged if "_proj" in name}
    assert "out exists already" in gppo("export", "run", "out").refusal()


def test_there_is_nothing_to_export(gppo: Warm, tmp_path: Path):
    assert "not a run folder" in gppo("export", "nothing", "out").refusal()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text("name: x\nmodel: {path: nowhere}\n")
    assert "there is no checkpoint yet" in gppo("export", "run", "out").refusal()
