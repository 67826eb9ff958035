"""An experiment from its file to its page, with real training in real processes, whole and broken off."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from gppo.reproduce.experiment import experiment_names, find_experiment, read_experiment
from gppo.reproduce.page import table
from gppo.reproduce.run import reproduce
from gppo.reproduce.units import plan_units
from gppo.types import UserError

TINY = {
    "name": "tiny",
    "title": "Two objectives",
    "paper": "p",
    "question": "Which?",
    "hypothesis": "h",
    "world": "misled",
    "metric": {"set": "exam", "sampling": "T=1", "steps": [2], "what": "accuracy after two steps"},
    "start": {
        "device": "cpu",
        "threads": 1,
        "model": {
            "tiny": {"hidden_size": 16, "layers": 1, "heads": 2, "kv_heads": 1},
            "tokenizer": "bytes",
            "max_context": 96,
        },
        "sft": {"data": "{world}/traces.jsonl", "steps": 3, "batch_size": 8, "max_length": 96, "save_every": 0},
    },
    "recipe": {
        "device": "cpu",
        "threads": 1,
        "model": {"path": "{start}", "max_context": 96},
        "rl": {
            "stages": [{"name": "math", "data": "{world}/exercises.jsonl", "steps": 2}],
            "prompts_per_step": 4,
            "group_size": 4,
            "mini_batch_prompts": 2,
            "learning_rate": 1e-3,
            "max_prompt_tokens": 32,
            "max_response_tokens": 16,
            "zero_advantage": "keep",
        },
        "evaluate": {
            "sets": [{"name": "exam", "data": "{world}/heldout.jsonl", "limit": 4}],
            "sampling": [{"temperature": 1.0, "top_p": 1.0, "k": 1}],
            "max_response_tokens": 16,
        },
    },
    "regimes": [{"name": "plain", "about": "The only one."}],
    "arms": [
        {"name": "gppo", "about": "ours", "set": {"rl.objective.name": "gppo"}},
        {"name": "clip_higher", "about": "theirs", "set": {"rl.objective.name": "clip_higher"}},
    ],
    "comparisons": [{"of": "gppo", "against": "clip_higher"}],
    "calibration": "c",
    "transfers": "Nothing transfers from two steps.",
}


def written(folder: Path, **changes) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(TINY | changes, sort_keys=False))
    return path


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_that_ships_plans_valid_recipes_at_every_scale(name, tmp_path):
    experiment = read_experiment(find_experiment(name))
    assert experiment.name == name
    assert experiment.seeds >= 8
    for scale in ("miniature", *experiment.scales):
        plan = plan_units(experiment, tmp_path, range(2), scale)
        assert len({unit.folder for unit in plan.units}) == len(plan.units)
        for unit in plan.units:
            ways = [way.label for way in unit.recipe.evaluate.ways(experiment.metric.set)]
            assert experiment.metric.sampling in ways
    for regime in experiment.regimes:
        assert experiment.comparisons_in(regime)


def test_arms_of_a_seed_differ_in_what_the_arm_sets_and_in_nothing_else(tmp_path):
    plan = plan_units(read_experiment(written(tmp_path)), tmp_path, [5])
    a, b = (unit.recipe.model_dump(exclude={"run_dir"}) for unit in plan.units)
    assert a["seed"] == b["seed"] == 5
    assert a.pop("rl") | {"objective": None} == b.pop("rl") | {"objective": None}
    assert a == b


def test_from_file_to_page_and_on(tmp_path):
    file, folder = written(tmp_path), tmp_path / "run"
    page = reproduce(file, folder, [100], "miniature", 2, Console(quiet=True))
    first = {path: path.stat().st_mtime_ns for path in folder.rglob("unit.json")}
    assert len(first) == 2
    page = reproduce(file, folder, [100, 101], "miniature", 2, Console(quiet=True))
    assert {path: path.stat().st_mtime_ns for path in first} == first  # what was finished is not run again
    text = page.read_text()
    assert "Which?" in text
    assert "| gppo − clip_higher | T=1, steps 2 |" in text
    assert "4 units, seeds 100, 101" in text
    assert "Nothing transfers" in text
    numbers = [json.loads(line) for line in (folder / "tiny.jsonl").read_text().splitlines()]
    assert sorted((one["arm"], one["seed"]) for one in numbers) == sorted(
        (a, s) for a in ("gppo", "clip_higher") for s in (100, 101)
    )
    svg = (folder / "tiny.svg").read_text()
    assert svg.count("<svg") == 1
    unit = json.loads((folder / "units/plain/gppo/seed-100/unit.json").read_bytes())
    assert [one["step"] for one in unit["evaluations"]] == [0, 2]
    assert unit["series"]["step"] == [1, 2]
    assert not (folder / "units/plain/gppo/seed-100/checkpoints").exists()
    with pytest.raises(UserError, match="stated otherwise"):
        reproduce(written(tmp_path, question="Another?"), folder, [100], "miniature", 2, Console(quiet=True))


def test_stopped_by_a_signal_it_says_so_and_goes_on(tmp_path):
    long = TINY["recipe"] | {
        "rl": TINY["recipe"]["rl"] | {"stages": [{"name": "math", "data": "{world}/exercises.jsonl", "steps": 400}]}
    }
    file, folder = written(tmp_path, recipe=long), tmp_path / "run"
    command = [
        sys.executable,
        "-m",
        "gppo.cli.main",
        "reproduce",
        str(file),
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--run",
        str(folder),
    ]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    log = folder / "units/plain/gppo/seed-0/metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.exists() and '"rl"' in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(started.pid, signal.SIGTERM)  # to the whole group, as a terminal and `timeout` send it
    _, said = started.communicate(timeout=60)
    assert started.returncode == 128 + signal.SIGTERM
    assert said.splitlines()[-1].endswith("stopped; run the same command again to go on")
    assert any((folder / "units/plain/gppo/seed-0/checkpoints/rl").glob("step-*"))  # the unit saved itself
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and str(folder) in _command_of(pid)]


def _command_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_a_unit_that_fails_is_named_with_its_reason(tmp_path):
    from gppo.types import GppoError

    short = TINY["recipe"]["rl"] | {"max_prompt_tokens": 2}
    file = written(tmp_path, recipe=TINY["recipe"] | {"rl": short})
    with pytest.raises(GppoError, match=r"plain, gppo, seed 0: .*longer than max_prompt_tokens"):
        reproduce(file, tmp_path / "run", [0], "miniature", 1, Console(quiet=True))


def test_a_misspelt_name_is_met_with_the_nearest(tmp_path):
    with pytest.raises(UserError, match="did you mean 'clipping'"):
        find_experiment("cliping")


def test_bars_in_cells_do_not_break_a_table():
    assert table(["a|b"], [["|c|"]]).splitlines()[2] == "| \\|c\\| |"
