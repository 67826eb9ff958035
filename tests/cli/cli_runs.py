"""The command in a process of its own, and small recipes for it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gppo.miniature.math_world import chain_problem
from gppo.records import Conversation, write_conversations, write_problems

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TERM": "dumb", "COLUMNS": "200", "NO_COLOR": "1"}
COMMAND = [sys.executable, "-m", "gppo.cli.main"]
#: RL from the recipe's model: the recipes here have an sft section too.
RL_ONLY = ("--set", "sft=null")
TINY = {"tiny": {"hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1}, "tokenizer": "bytes", "max_context": 64}


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str

    def refusal(self, status: int = 2) -> str:
        """The one sentence on standard error, after notes and progress lines."""
        assert "Traceback" not in self.stderr, self.stderr
        assert self.status == status, self.stderr
        errors = [line for line in self.stderr.splitlines() if line.startswith("error: ")]
        assert self.stderr.splitlines()[-1:] == errors, self.stderr  # one, and nothing comes after it
        return errors[0].removeprefix("error: ")


class Warm:
    """Runs commands through ``warm_command.py``, in a folder."""

    def __init__(self, server: subprocess.Popen[str], folder: Path) -> None:
        self.server = server
        self.folder = folder

    def __call__(self, *arguments: object) -> Done:
        said = {name: self.folder / f".{name}" for name in ("stdout", "stderr")}
        for path in said.values():
            path.unlink(missing_ok=True)
        asked = {"folder": str(self.folder), "arguments": [*map(str, arguments)]} | {k: str(v) for k, v in said.items()}
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        print(json.dumps(asked), file=self.server.stdin, flush=True)
        status = int(self.server.stdout.readline())
        return Done(status, *(path.read_text(encoding="utf-8") for path in said.values()))


def cold(*arguments: object, folder: Path) -> Done:
    """Run ``python -m gppo.cli.main ...`` in a folder."""
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def write_sums(path: Path, count: int = 8) -> None:
    write_problems(path, [chain_problem([a, b]) for a in range(1, 10) for b in range(1, 10)][:count])


def write_traces(path: Path, count: int = 8) -> None:
    turns = [
        ({"role": "user", "content": f"{i}+1=?"}, {"role": "assistant", "content": f"<think>{i}</think>{i + 1}"})
        for i in range(count)
    ]
    write_conversations(path, [Conversation(f"c{i}", pair) for i, pair in enumerate(turns)])


def write_lines(path: Path, rows: Sequence[Any]) -> None:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))


def recipe(folder: Path, *, rl: dict[str, Any] | None = None, **sections: Any) -> Path:
    """A recipe.yaml with SFT, RL and evaluation on tiny data; keys of ``rl`` replace its own."""
    write_sums(folder / "train.jsonl")
    write_sums(folder / "test.jsonl", 3)
    write_traces(folder / "sft.jsonl")
    small_rl = {
        "stages": [{"name": "math", "data": "train.jsonl", "steps": 2}],
        "prompts_per_step": 2,
        "group_size": 2,
        "mini_batch_prompts": 1,
        "learning_rate": 1e-3,
        "max_prompt_tokens": 16,
        "max_response_tokens": 8,
        "zero_advantage": "keep",
        "save_every": 1,
    }
    content = {
        "name": "tiny",
        "run_dir": "run",
        "model": TINY,
        "sft": {"data": "sft.jsonl", "steps": 2, "batch_size": 2, "max_length": 64},
        "rl": small_rl | (rl or {}),
        "evaluate": {
            "sets": [{"name": "heldout", "data": "test.jsonl"}],
            "sampling": [{"temperature": 1.0, "k": 2}],
            "max_response_tokens": 8,
        },
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(content | sections, sort_keys=False))
    return path
