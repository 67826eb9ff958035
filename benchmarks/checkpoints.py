"""How long training waits for its checkpoints: written in the background, written while training waits, and not at all.

    python benchmarks/checkpoints.py [--hidden 320] [--layers 6] [--rounds 6]

Every step saves (recipes save less often). The three ways are interleaved, step by step, so that a busy machine is as
bad for each. Prints a table and one line of JSON.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from gppo.config import ModelConfig, TinyConfig
from gppo.config.optimizer import OptimizerConfig
from gppo.policy import Checkpoints, Optimizer, Policy, load_policy

WAYS = ("none", "background", "waiting")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hidden", type=int, default=320)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=6)
    args = parser.parse_args()
    torch.set_num_threads(1)
    shape = TinyConfig(hidden_size=args.hidden, layers=args.layers, heads=8, kv_heads=2)
    policy = load_policy(ModelConfig(tiny=shape, tokenizer="bytes", max_context=512), seed=0)
    optimizer = Optimizer(policy.model, OptimizerConfig(learning_rate=1e-4), 1)
    step(policy, optimizer)
    waits: dict[str, list[float]] = {way: [] for way in WAYS}
    steps: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder, Checkpoints(Path(folder), keep=1) as checkpoints:
        checkpoints.save(0, policy, optimizer, {})  # the buffers' first touch
        for number in range(args.rounds):
            for way in WAYS:
                began = time.perf_counter()
                if way == "background":
                    checkpoints.start(number, policy, optimizer, {})
                elif way == "waiting":
                    checkpoints.save(number, policy, optimizer, {})
                waited = time.perf_counter()
                step(policy, optimizer)
                ended = time.perf_counter()
                checkpoints.wait()  # so that the next way has the machine to itself
                waits[way].append(waited - began)
                steps[way].append(ended - waited)
    size = 3 * sum(p.numel() for p in policy.model.parameters()) * 4
    print(
        f"{size / 2**20:.0f} MiB of weights and moments\n{'':12} {'waits, s':>10} {'step, s':>10} {'waits / step':>14}"
    )
    for way in WAYS:
        print(f"{way:12} {median(waits[way]):10.4f} {median(steps[way]):10.3f} {share(waits, steps, way):14.2%}")
    ours, peer = share(waits, steps, "background"), share(waits, steps, "waiting")
    slower = median(steps["background"]) / median(steps["none"]) - 1
    print(f"a step beside the writer takes {slower:+.2%} longer")
    result = {"benchmark": "checkpoints", "mib": size / 2**20, "ours": ours, "peer": peer, "ratio": ours / peer}
    print(json.dumps(result | {"step_slower": slower}))


def share(waits: dict[str, list[float]], steps: dict[str, list[float]], way: str) -> float:
    """Waiting as a share of an undisturbed step."""
    return median(waits[way]) / median(steps["none"])


def step(policy: Policy, optimizer: Optimizer) -> None:
    """Forward, backward and update on 2048 tokens."""
    rng = np.random.default_rng(0)
    prompts = tuple(rng.integers(5, 200, size=16) for _ in range(8))
    batch = policy.tokens(prompts, [rng.integers(5, 200, size=240) for _ in range(8)])
    policy.backward_N(batch, lambda logprobs_n, _: torch.full_like(logprobs_n, 1e-3))
    optimizer.step(at=0)


if __name__ == "__main__":
    main()
