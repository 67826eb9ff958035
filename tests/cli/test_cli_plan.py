"""``gppo plan`` as a command: no torch, its exit status, its JSON."""

import json

import pytest
import yaml
from test_cli_light import COMMAND, loaded_by

QWEN = {"path": "Qwen/Qwen3-8B-Base", "dtype": "bfloat16", "max_context": 32_768, "gradient_checkpointing": True}


def test_the_command_needs_no_torch_and_says_whether_it_fits(tmp_path):
    path = tmp_path / "recipe.yaml"
    rl = {"stages": [{"name": "math", "data": "none", "steps": 10}]}
    path.write_text(yaml.safe_dump({"name": "r", "model": QWEN, "rl": rl}))
    done = loaded_by(COMMAND.format(arguments=["plan", str(path), "--gpus", "H100-80", "--price", "2"]), tmp_path)
    assert "status: 1\nloaded: []" in done.stdout
    assert "It does not fit" in done.stdout
    small = ["plan", str(path), "--gpus", "8xH100-80", "--set", "rl.sampler_rows=8", "--json", "--price", "2"]
    done = loaded_by(COMMAND.format(arguments=small), tmp_path)
    found = json.loads(done.stdout.splitlines()[0])
    assert found["fits"]
    assert "status: 0\nloaded: []" in done.stdout
    low, high = found["price"]
    assert low == pytest.approx(found["seconds"][0] / 3600 * 8 * 2)
    assert 0 < low < high
