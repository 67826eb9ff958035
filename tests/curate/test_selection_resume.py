"""A whole recipe of choosing steps, killed with SIGKILL wherever it happens to be: the same bytes in the end."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from step_rows import conversation, problem

from gppo.miniature.code_world import code_problems, to_problem
from gppo.records import write_conversations, write_problems

CURATE = """
import sys
from pathlib import Path
from gppo.config import CurateConfig
from gppo.curate import curate
from gppo.run import RunFolder
import yaml
folder = Path(sys.argv[1])
curate(CurateConfig(**yaml.safe_load(sys.argv[2])), RunFolder.create(folder / "run", "name: test"), device="cpu")
"""


def conversations(folder):
    rng = random.Random(0)
    rows = []
    for i in range(300):
        a, b = rng.randint(1, 400), rng.randint(1, 400)
        answer = a + b + rng.choice((0, 0, 1))
        text = f"<think>hm</think>\\boxed{{\\frac{{{2 * answer}}}{{2}}}}" if i % 9 else "no tags"
        extra = {"ground_truth": str(a + b), "rate": rng.random()}
        rows.append(conversation(f"c{i}", f"what is {a} and {b}", text, **extra))
    write_conversations(folder / "in.jsonl", rows)
    return [
        {"step": "format", "box": True},
        {"step": "language"},
        {"step": "difficulty", "column": "rate"},
        {"step": "correctness"},
        {"step": "k_center", "budget": 90, "embedding": {"dimensions": 16}},
    ]


def programs(folder):
    rows = []
    for task in code_problems(2, 6, faulty_share=0.1):
        record = to_problem(task)
        fenced = [f"<think>x</think>```\n{source}\n```" for source in (task.solution, task.misconception)]
        extra = {"solutions": task.solution, "responses": [fenced[0], fenced[0], fenced[1]]}
        rows.append(problem(task.id, task.statement, record.ground_truth, "code", **extra))
    write_problems(folder / "in.jsonl", rows)
    return [
        {"step": "faulty_tests", "agree": 1},
        {"step": "min_tests", "at_least": 14},
        {"step": "pass_share", "responses": "responses"},
    ]


def everything(folder):
    files = [file for file in (folder / "run" / "curation").rglob("*") if file.is_file() and file.suffix != ".json"]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in [*files, folder / "out.jsonl"]}


@pytest.mark.slow
@pytest.mark.parametrize("world", [conversations, programs])
def test_killed_anywhere_it_ends_the_same(tmp_path, world):
    def start(name):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        steps = world(folder)
        source = {"name": "here", "data": str(folder / "in.jsonl")}
        told = {"name": "set", "sources": [source], "steps": steps, "output": str(folder / "out.jsonl")}
        return subprocess.Popen(
            [sys.executable, "-c", CURATE, folder, str(told)], stderr=subprocess.DEVNULL, start_new_session=True
        )

    began = time.monotonic()
    assert start("undisturbed").wait() == 0
    whole = time.monotonic() - began
    rng = random.Random(1)
    kills = 0
    for _ in range(2):
        process = start("killed")
        try:
            process.wait(timeout=whole * rng.uniform(0.3, 0.95))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
    assert kills
    assert start("killed").wait() == 0
    assert everything(tmp_path / "killed") == everything(tmp_path / "undisturbed")
