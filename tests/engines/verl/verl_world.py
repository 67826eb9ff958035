"""A world for verl on CPU: a tiny model that has just learned to answer in the right format with a random digit.

One kind of problem is math (box the digit), the other code (print it). About one answer in three is right, so groups
have advantages from the first step, judged by the real judges.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml

DIGITS = "123"
WORLD = {"hidden_size": 64, "layers": 2, "heads": 4, "kv_heads": 2}


def answer_of(ability: str, digit: str) -> str:
    """The whole response that says a digit."""
    return "<think>x</think>" + (f"```python\nprint({digit})\n```" if ability == "code" else f"\\boxed{{{digit}}}")


def make_world(folder: Path) -> Path:
    """The model in ``folder/model``, problems in ``folder/problems.jsonl``, conversations in ``folder/sft.jsonl``."""
    from gppo.config import Recipe
    from gppo.policy import byte_tokenizer, load_policy
    from gppo.run import RunFolder
    from gppo.sft.stage import run_sft

    draw = random.Random(0)
    conversations, problems = [], []
    for i in range(96):
        code = i % 2 == 1
        question = "print" if code else "box"
        digit = draw.choice(DIGITS)
        answer = answer_of("code" if code else "math", digit)
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        conversations.append({"messages": turns})
        tests = json.dumps({"inputs": [""], "outputs": [digit], "fn_name": None})
        problems.append(
            {
                "data_source": "digits",
                "prompt": [{"role": "user", "content": question}],
                "ability": "code" if code else "math",
                "reward_model": {"style": "rule", "ground_truth": tests if code else digit},
                "extra_info": {"id": f"p{i}", "digit": digit},
            }
        )
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})  # verl asks for it in every Qwen
    tokenizer.save_pretrained(folder / "tokenizer")
    write_lines(folder / "sft.jsonl", conversations)
    write_lines(folder / "problems.jsonl", problems)
    recipe = Recipe.model_validate(
        {
            "name": "world",
            "model": {"tiny": WORLD, "tokenizer": str(folder / "tokenizer"), "max_context": 128},
            "sft": {
                "data": str(folder / "sft.jsonl"),
                "steps": 120,
                "batch_size": 16,
                "max_length": 128,
                "optimizer": {"learning_rate": 5e-3, "min_learning_rate": 5e-4},
                "save_every": 0,
            },
        }
    )
    policy = load_policy(recipe.model, seed=0)
    run_sft(recipe, RunFolder.create(folder / "made", yaml.safe_dump(recipe.model_dump(mode="json"))), policy)
    policy.save(folder / "model", policy.model.state_dict())
    return folder


def write_lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rl_recipe(world: Path, name: str, **rl: object) -> Path:
    """A recipe of three steps on two workers, in a file."""
    recipe = {
        "name": name,
        "run_dir": str(world / "runs" / name),
        "device": "cpu",
        "model": {"path": str(world / "model"), "max_context": 128},
        "rl": {
            "stages": [{"name": "digits", "data": str(world / "problems.jsonl"), "steps": 3}],
            "prompts_per_step": 8,
            "group_size": 4,
            "mini_batch_prompts": 2,
            "learning_rate": 1e-4,
            "epochs": 2,
            "max_prompt_tokens": 16,
            "max_response_tokens": 64,
            "micro_batch_tokens": 1024,
            "save_every": 1,
            "optimizer": {"warmup_steps": 0},
            **rl,
        },
        "evaluate": {
            "sets": [{"name": "digits", "data": str(world / "problems.jsonl"), "limit": 8}],
            "sampling": [{"temperature": 1.0, "top_p": 1.0, "k": 4}],
            "max_response_tokens": 64,
        },
        "verl": {"nodes": 1, "gpus_per_node": 2},
    }
    path = world / f"{name}.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def start_gppo(*arguments: object) -> subprocess.Popen[str]:
    """The command, in this environment."""
    return subprocess.Popen(
        [sys.executable, "-m", "gppo.cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
    )


def gppo(*arguments: object, timeout: float = 600) -> tuple[int, str]:
    """Its exit status and what it said."""
    process = start_gppo(*arguments)
    try:
        said, _ = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return process.returncode, said


def processes_of_ray(folder: Path) -> list[int]:
    """Those of a Ray whose files are in ``folder``: their output goes there."""
    found = []
    for path in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if path.readlink().is_relative_to(folder):
                found.append(int(path.parts[2]))
        except OSError:
            continue
    return found


def actors_of_ray(folder: Path) -> list[str]:
    """What runs for a job on a Ray whose files are in ``folder``."""
    found = []
    for pid in processes_of_ray(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            name = " ".join(psutil.Process(pid).cmdline())
            if name.startswith("ray::") and not name.startswith("ray::IDLE") and not name.endswith("Agent"):
                found.append(name)
    return found


def below(pid: int, name: str) -> list[int]:
    """What a process started, directly or not, and is called so."""
    found = []
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if Path(*child.cmdline()[:1]).name.startswith(name):
                found.append(child.pid)
    return found


def wait_for(done: Callable[[], object], seconds: float) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def tensors(folder: Path) -> dict:
    """Of the one file of a model."""
    from safetensors.torch import load_file

    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def log_of(world: Path, name: str, job: str = "rl-1") -> str:
    """The end of what verl said."""
    log = world / "runs" / name / "verl" / job / "verl.log"
    return log.read_text(errors="replace")[-4000:] if log.is_file() else ""


def problems(world: Path) -> list[dict]:
    """The records."""
    return [json.loads(line) for line in (world / "problems.jsonl").read_text().splitlines()]


def changed_problems(world: Path, name: str, change: Callable[[dict], dict]) -> Path:
    """A recipe of two steps on changed records."""
    path = world / f"{name}.jsonl"
    path.write_text("".join(json.dumps(change(row)) + "\n" for row in problems(world)))
    return rl_recipe(world, name, stages=[{"name": "digits", "data": str(path), "steps": 2}])
