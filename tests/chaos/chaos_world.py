"""A miniature world for the chaos test: a model that writes sums and programs in form, and a recipe over both."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from gppo.config import ModelConfig, SFTConfig, TinyConfig
from gppo.miniature.code_world import CodeProblem, code_problems, to_problem
from gppo.miniature.math_world import chain_problem
from gppo.miniature.teachers import SLIPPING
from gppo.policy import load_policy
from gppo.records import Conversation, write_conversations, write_problems
from gppo.run import RunFolder
from gppo.sft import encode_samples, train_sft
from gppo.types import Problem

CONTEXT = 160
SHAPE = TinyConfig(hidden_size=48, layers=2, heads=2, kv_heads=1)
# The shortest programs: so small a model writes them whole.
CODE = sorted(code_problems(0, 60, difficulties=(1,)), key=lambda p: len(p.solution))[:4]


def sums(count: int) -> list[Problem]:
    pairs = np.random.default_rng(0).permutation([(a, b) for a in range(1, 10) for b in range(1, 10)])
    return [chain_problem([int(a), int(b)]) for a, b in pairs[:count]]


def program(source: str) -> str:
    return f"<think>ok</think>```python\n{source}\n```"


def traces() -> list[Conversation]:
    """Sums, right and wrong programs in turn."""
    rng = np.random.default_rng(0)
    math = [Conversation(f"m{i}", (*p.prompt, _said(SLIPPING.solve(p, rng)))) for i, p in enumerate(sums(12))]
    code = [
        Conversation(f"c{i}-{right}", (*to_problem(p).prompt, _said(program(_source(p, right)))))
        for i, p in enumerate(CODE)
        for right in (True, False)
    ]
    return math + code


def _source(problem: CodeProblem, right: bool) -> str:
    return problem.solution if right else problem.misconception


def _said(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def make_world(folder: Path, steps: int = 200) -> None:
    """Write the data, a taught model (model/), and the recipe."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    write_problems(folder / "math.jsonl", sums(12))
    write_problems(folder / "code.jsonl", [to_problem(p) for p in CODE])
    write_conversations(folder / "sft.jsonl", traces())
    policy = load_policy(ModelConfig(tiny=SHAPE, tokenizer="bytes", max_context=CONTEXT), seed=0)
    samples, _ = encode_samples(policy.tokenizer, [c.messages for c in traces()], CONTEXT)
    config = SFTConfig(
        data="unused.jsonl", steps=steps, batch_size=20, optimizer={"learning_rate": 1e-2, "min_learning_rate": 1e-3}
    )
    train_sft(policy, samples, config, RunFolder.create(folder / "taught", "name: taught\n"), seed=0)
    policy.save(folder / "model")


def write_recipe(path: Path, world: Path, **over: Any) -> Path:
    """A recipe with SFT, RL on math and code, and an evaluation on both; keys of ``over`` replace those of sections."""
    rl = {
        "stages": [
            {"name": "math", "data": str(world / "math.jsonl"), "steps": 6},
            {"name": "code", "data": str(world / "code.jsonl"), "steps": 6, "prompts_per_step": 2},
        ],
        "prompts_per_step": 4,
        "group_size": 4,
        "mini_batch_prompts": 1,
        "learning_rate": 2e-4,
        "reward": {"code_tests": 4},
        "max_prompt_tokens": 64,
        "max_response_tokens": 80,
        "zero_advantage": "keep",
        "evaluate_every": 4,
        "save_every": 1,
        "optimizer": {"warmup_steps": 2},
    }
    evaluate = {
        "sets": [
            {"name": "sums", "data": str(world / "math.jsonl"), "limit": 6},
            {"name": "programs", "data": str(world / "code.jsonl"), "limit": 2},
        ],
        "sampling": [{"temperature": 1.0, "top_p": 1.0, "k": 2}],
        "max_response_tokens": 80,
        "batch_responses": 4,
    }
    sft = {"data": str(world / "sft.jsonl"), "steps": 30, "batch_size": 8, "max_length": CONTEXT, "save_every": 1}
    content = {
        "name": "chaos",
        "seed": 3,
        "device": "cpu",
        "threads": 1,
        "model": {"path": str(world / "model"), "max_context": CONTEXT},
        "rl": rl,
        "evaluate": evaluate,
        "sft": sft,
    }
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(content.get(key), dict):
            content[key] = content[key] | value
        elif value is None:
            content.pop(key)
        else:
            content[key] = value
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path
