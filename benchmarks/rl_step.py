"""A whole RL step, ours beside TRL's GRPOTrainer: same model, prompts, lengths, mini-batches and machine.

    make bench-trl                                        (makes .venv-trl and runs this in it)
    .venv/bin/python benchmarks/rl_step.py --peers none   (ours alone, with its profile)

A step samples 16 prompts x 8 responses, judges them, and takes four optimizer steps of four prompts each. Both sides'
judges cost nothing, every group has an advantage, and no step is logged or saved. TRL "tuned" is float32 without
checkpointing, all rows of a mini-batch in one pass; "defaults" is what it does unless told otherwise: bfloat16,
gradient checkpointing, eight rows a pass (the mini-batches are made by accumulation). Lengths are forced: ours by each
response's limit, TRL's by a logits processor that makes the end of text certain at the same position. Our step runs
between TRL's, in the same process, so that a busy machine is as bad for both. Prints a table and one line of JSON.
"""

import argparse
import contextlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import torch

import gppo.rollout.local.decoders as decoders
import gppo.rollout.local.sampler as sampling
from gppo.config import RLConfig
from gppo.policy import Optimizer, Policy
from gppo.rl.batch import make_batch
from gppo.rl.collect import Collector
from gppo.rl.update import Updater
from gppo.rollout import requests_for
from gppo.types import Problem, Rollout, Verdict
from world import (
    EndsAt,
    ForcedLengths,
    Workload,
    characters,
    machine,
    problems_of,
    small_policy,
    small_qwen3,
    spread,
    workload,
)

WORKLOADS = ("uniform", "long-tailed", "long prompts")
UPDATES = 4

Clock = Callable[[], float]


class EvenIsBetter:
    """A judge that costs nothing and gives every group an advantage; responses cut at their limit are never right."""

    def submit(self, problem: Problem, rollout: Rollout, prompt_opened: bool) -> "Future[Verdict]":
        verdict: Future[Verdict] = Future()
        verdict.set_result(Verdict("wrong" if rollout.sample % 2 == 0 else "unparsable", 0.0))
        return verdict


class Ours:
    """Our loop's parts, put together as ``train_rl`` does."""

    def __init__(self, work: Workload, compiled: bool, clock: Clock) -> None:
        tokenizer = characters()
        self.policy = small_policy(tokenizer, compiled=compiled)
        prompts, group = work.lengths_PG.shape
        self.config = RLConfig.model_validate(
            {
                "stages": [{"name": "bench", "data": "none.jsonl", "steps": 1}],
                "prompts_per_step": prompts,
                "group_size": group,
                "mini_batch_prompts": prompts // UPDATES,
                "learning_rate": 1e-4,
                "max_response_tokens": int(work.lengths_PG.max()),
                "lm_loss": {"alpha": 0.0},
                "reward": {"require_thinking": False},
            }
        )
        (self.stage,) = self.config.resolved_stages()
        sampler = ForcedLengths(self.policy, work, self.config.sampler_rows)
        self.collector = Collector(sampler, EvenIsBetter(), self.config, 0, tokenizer)
        problems = problems_of(work)
        requests, _ = requests_for(tokenizer, problems, group, self.stage.max_prompt_tokens)
        self.prompts = list(zip(problems, requests, strict=True))
        optimizer = Optimizer(self.policy.model, self.config.optimizer, 10**6)
        optimizer.peak = self.stage.learning_rate
        self.updater = Updater(self.policy, optimizer, self.config)
        self.work, self.step, self.clock = work, 0, clock

    def __call__(self) -> dict[str, float]:
        """One step; seconds of its parts."""
        clock = self.clock
        start = clock()
        experience = self.collector.collect(self.prompts, self.stage, 0, 0, self.step, lambda *_: None)
        sampled = clock()
        batch = make_batch(experience.kept, [], self.config)
        assert batch is not None
        assert len(batch) == self.work.lengths_PG.size
        assert batch.mask_BT.sum() == self.work.tokens
        batched = clock()
        update = self.updater.update(batch, self.stage, seed=0, step=self.step, at=100)
        assert update.metrics["updates"] == UPDATES
        end = clock()
        self.step += 1
        return {"step": end - start, "collect": sampled - start, "batch": batched - sampled, "update": end - batched}


@contextlib.contextmanager
def timed(spent: dict[str, float], clock: Clock) -> Iterator[None]:
    """Adds up the seconds of a step's inner parts while the block runs."""

    def around(owner: Any, name: str, label: str) -> Callable[[], None]:
        plain = getattr(owner, name)

        def wrapped(*args: Any, **options: Any) -> Any:
            start = clock()
            try:
                return plain(*args, **options)
            finally:
                spent[label] = spent.get(label, 0.0) + clock() - start

        setattr(owner, name, wrapped)
        return lambda: setattr(owner, name, plain)

    undo = [
        around(sampling, "prefill", "collect: prompts"),
        around(decoders.FamilyDecoder, "run", "collect: decoding"),
        around(decoders.FamilyDecoder, "admit", "collect: caches"),
        around(decoders.FamilyDecoder, "keep", "collect: caches"),
        around(Policy, "backward_N", "update: forward and backward"),
        around(Optimizer, "step", "update: optimizer"),
    ]
    try:
        yield
    finally:
        for back in undo:
            back()


def profile(ours: Ours, rounds: int) -> dict[str, float]:
    """Median milliseconds of each part of a step."""
    seen: list[dict[str, float]] = []
    for _ in range(rounds):
        spent: dict[str, float] = {}
        with timed(spent, ours.clock):
            seen.append(ours() | spent)
    middle = {key: 1000 * float(np.median([one.get(key, 0.0) for one in seen])) for key in seen[-1]}
    for part in ("collect", "update"):
        middle[f"{part}: the rest"] = middle[part] - sum(v for k, v in middle.items() if k.startswith(f"{part}:"))
    return middle


def beside_trl(work: Workload, rounds: int, warm_up: int, tuned: bool, step: Ours) -> dict[str, list]:
    """Seconds of TRL's steps and of ours, taken in turn."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    tokenizer = characters()
    model = small_qwen3(tokenizer).train()
    prompts, group = work.lengths_PG.shape
    rows = prompts * group
    spent: dict[str, list] = {"trl": [], "ours": []}
    clock = step.clock

    class InTurns(GRPOTrainer):
        since: float | None = None

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            # Called once at the beginning of every step: what lies between two calls is a step.
            if self.since is not None:
                spent["trl"].append(clock() - self.since)
            start = clock()
            step()
            self.since = clock()
            spent["ours"].append(self.since - start)
            out = super()._generate_and_score_completions(inputs)
            assert int(out["completion_mask"].sum()) == work.tokens
            return out

    settings: dict[str, Any] = {
        "num_generations": group,
        "max_completion_length": int(work.lengths_PG.max()),
        "temperature": 1.0,
        "per_device_train_batch_size": rows // UPDATES,
        "steps_per_generation": UPDATES,
        "gradient_accumulation_steps": 1,
        "loss_type": "dapo",
        "max_steps": (rounds + warm_up + 1) * UPDATES,
        "learning_rate": 1e-4,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": not torch.cuda.is_available(),
        "dataloader_pin_memory": False,
    }
    if tuned:
        settings |= {"bf16": False, "gradient_checkpointing": False}
    else:
        passes = rows // UPDATES // 8
        settings |= {
            "per_device_train_batch_size": 8,
            "steps_per_generation": UPDATES * passes,
            "gradient_accumulation_steps": passes,
        }

    def reward(completions: list, **_: Any) -> list[float]:
        return [float(i % 2) for i in range(len(completions))]

    with tempfile.TemporaryDirectory() as folder:
        trainer = InTurns(
            model=model,
            reward_funcs=reward,
            args=GRPOConfig(output_dir=folder, **settings),
            train_dataset=Dataset.from_list([{"prompt": [{"role": "user", "content": t}]} for t in work.texts]),
            processing_class=tokenizer,
        )
        plain = trainer.model.generate

        def generate(*args: Any, **options: Any) -> Any:
            return plain(*args, **options, logits_processor=[EndsAt(work.lengths_PG, tokenizer.eos_token_id)])

        trainer.model.generate = generate
        trainer.train()
    return {name: values[warm_up:][:rounds] for name, values in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=WORKLOADS)
    parser.add_argument("--peers", nargs="+", choices=["tuned", "defaults", "none"], default=["tuned", "defaults"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="model.compile of ours")
    parser.add_argument("--cpu-time", action="store_true", help="count processor seconds, on a machine that is shared")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {}
    clock = time.process_time if options.cpu_time else time.perf_counter
    for name in options.workloads:
        work = workload(name)
        ours = Ours(work, options.compile, clock)
        start = clock()
        ours()
        found: dict[str, Any] = {"first_step": clock() - start}
        ours()
        found["profile_ms"] = profile(ours, options.rounds)
        print(f"\n{name}: {work.lengths_PG.size} responses, {work.tokens} tokens; ours, ms:")
        for part, value in found["profile_ms"].items():
            print(f"  {part:32}{value:9.1f}")
        for peer in options.peers:
            if peer == "none":
                continue
            spent = beside_trl(work, options.rounds, options.warm_up, peer == "tuned", ours)
            for who, values in spent.items():
                middle, low, high = spread(values)
                found[f"{who} beside {peer}" if who == "ours" else f"trl {peer}"] = middle
                print(f"  {who if who == 'ours' else f'TRL {peer}':16}{middle:8.3f} s   ({low:.3f}-{high:.3f})")
            found[f"ratio {peer}"] = found[f"trl {peer}"] / found[f"ours beside {peer}"]
            print(f"  TRL {peer} takes {found[f'ratio {peer}']:.2f}x our time")
        results[name] = found
    ratio = {name: {k[6:]: v for k, v in found.items() if k.startswith("ratio")} for name, found in results.items()}
    line = {"benchmark": "rl_step", "unit": "s", "results": results, "ratio": ratio, "settings": vars(options)}
    print(json.dumps({**line, "machine": machine()}))


if __name__ == "__main__":
    main()
