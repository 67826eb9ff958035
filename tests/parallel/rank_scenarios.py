"""What is trained once by one process and once by two: ``torchrun rank_scenarios.py FOLDER`` does the latter.

Every function trains a tiny model in a folder and leaves metrics and checkpoints there.
"""

import os
import signal
import sys
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gppo.config import ModelConfig, ParallelConfig, RLConfig, SFTConfig, TinyConfig
from gppo.miniature.math_world import chain_problem
from gppo.policy import ALONE, Optimizer, Policy, World, joined, load_policy, shard, without_weights
from gppo.policy.parallel import whole
from gppo.rl import Updater, Watch, train_rl
from gppo.rollout import LocalSampler, SharedSampler
from gppo.run import RunFolder
from gppo.run.interrupt import Interrupted
from gppo.sft import encode_samples, train_sft
from gppo.types import Batch, GppoError, Problem, Rollout, Verdict

SHAPE = TinyConfig(hidden_size=32, layers=2, heads=2, kv_heads=1)
UNTIED = TinyConfig(hidden_size=32, layers=2, heads=2, kv_heads=1, tie_embeddings=False)
STEPS = 4
#: Objectives, and the settings with which each updates from a batch of which few rows are live.
OBJECTIVES: Mapping[str, dict[str, Any]] = {
    "gppo": {},
    "gspo": {"correction": {"kind": "mis"}},
    "dcpo": {"kl": {"beta": 0.1}, "old_logprobs": "sampled", "lm_loss": {"alpha": 0}},
}


class ParityJudge:
    """A response is right where its tokens add up to an even number, so every group has right and wrong ones."""

    def submit(self, problem: Problem, rollout: Rollout, prompt_opened: bool) -> "Future[Verdict]":
        right = int(rollout.response_ids.sum()) % 2 == 0
        done: Future[Verdict] = Future()
        done.set_result(Verdict("correct" if right else "wrong", float(right)))
        return done


class BreakingJudge(ParityJudge):
    """Breaks after so many responses, on the last rank."""

    def __init__(self, world: World, after: int) -> None:
        self.left = after if world.rank == world.size - 1 else sys.maxsize

    def submit(self, problem: Problem, rollout: Rollout, prompt_opened: bool) -> "Future[Verdict]":
        self.left -= 1
        if self.left < 0:
            raise OSError("the judge broke")
        return super().submit(problem, rollout, prompt_opened)


def load(world: World, reshard: bool = True, **settings: Any) -> Policy:
    origin = {} if "path" in settings else {"tiny": SHAPE, "tokenizer": "bytes"}
    config = ModelConfig(**(origin | {"max_context": 64} | settings))
    if world.size == 1:
        return load_policy(config, seed=0)
    kept = ParallelConfig(reshard_after_forward=reshard)
    to_ranks = partial(shard, config=kept, world=world, device=torch.device("cpu"))
    return load_policy(config, seed=0, shard=to_ranks)


def folder_of(folder: Path, world: World) -> RunFolder:
    run = world.lead(lambda: RunFolder.create(folder, "name: ranks\n"))
    return run if world.leads else replace(run, looks_on=True)


def sft(folder: Path, world: World = ALONE, *, stop_at: int | None = None, model: Any = None, **over: Any) -> None:
    """Fine-tuning; with ``stop_at`` the last rank alone is sent SIGTERM in that step."""
    small = {"data": "-", "steps": STEPS, "batch_size": 3, "micro_batch_tokens": 24, "keep_checkpoints": 9}
    config = SFTConfig.model_validate(small | {"save_every": 1, "optimizer": {"learning_rate": 1e-2}} | over)
    policy = load(world, **(model or {}))
    turns = [
        ({"role": "user", "content": f"{i}+1=?"}, {"role": "assistant", "content": "7" * (1 + i % 4) + str(i + 1)})
        for i in range(10)
    ]
    samples, _ = encode_samples(policy.tokenizer, turns, 64)
    run = folder_of(folder, world)
    train_sft(policy, samples, config, run, seed=0, world=world, on_step=partial(_stop, stop_at, world))


def model_that_ends(folder: Path) -> None:
    """A model of which some responses end by themselves, some are cut."""
    policy = load(ALONE)
    head = policy.model.get_output_embeddings().weight
    with torch.no_grad():
        head[policy.stop_ids[0]] *= 6.0
    policy.save(folder)


def rl(
    folder: Path,
    world: World = ALONE,
    *,
    stop_at: int | None = None,
    model: Any = None,
    solo: bool = False,
    judge: Any = None,
    **over: Any,
) -> None:
    """Reinforcement learning of the model in ``model`` beside the folder; ``stop_at`` as above.

    With ``solo`` rank 0 draws all responses, as vLLM does.
    """
    small = {
        "stages": [{"name": "math", "data": "-", "steps": STEPS}],
        "prompts_per_step": 5,
        "group_size": 4,
        "mini_batch_prompts": 2,
        "learning_rate": 1e-3,
        "max_prompt_tokens": 32,
        "max_response_tokens": 12,
        "micro_batch_tokens": 40,
        "reward": {"require_thinking": False},
        "optimizer": {"warmup_steps": 0},
        "save_every": 1,
        "keep_checkpoints": 9,
    }
    config = RLConfig.model_validate(small | over)
    origin = {"path": str(folder.parent / "model"), **(model or {})}
    policy = load(world, **origin)
    reference = load(world, **origin) if config.kl.beta else None
    problems = {"math": [chain_problem([1 + i, 9 - i]) for i in range(8)]}
    run = folder_of(folder, world)
    watch = Watch(on_step=partial(_stop, stop_at, world))
    sampler: Any = LocalSampler(policy)
    if world.size > 1:
        plain = without_weights(policy)
        sampler = SharedSampler(LocalSampler(plain), plain, policy, world, solo=solo)
    judge = judge or ParityJudge()
    train_rl(policy, sampler, judge, problems, config, run, seed=0, reference=reference, watch=watch, world=world)


def _stop(at: int | None, world: World, step: int, *_: Any) -> None:
    if step == at and world.rank == world.size - 1:
        os.kill(os.getpid(), signal.SIGTERM)


def few_live_rows() -> Batch:
    """Two groups, of which one row has an advantage; a third group has none."""
    rng = np.random.default_rng(0)
    lengths_B = np.array([5, 1, 4, 7, 3, 2])
    mask_BT = np.arange(7) < lengths_B[:, None]
    return Batch(
        prompt_ids=tuple(rng.integers(5, 200, size=3) for _ in range(3) for _ in range(2)),
        response_ids_BT=np.where(mask_BT, rng.integers(5, 200, size=mask_BT.shape), 0),
        mask_BT=mask_BT,
        sampled_logprobs_BT=np.where(mask_BT, rng.normal(-5, 0.5, size=mask_BT.shape), 0).astype(np.float32),
        advantages_B=np.array([0.0, 0.0, 1.5, 0.0, 0.0, 0.0]),
        policy_row_B=np.array([True, True, True, True, False, False]),
        correct_B=np.zeros(6, dtype=bool),
        group_B=np.repeat(np.arange(3), 2),
    )


def update(objective: str, world: World = ALONE) -> dict[str, Any]:
    """What one update of such a batch shows and does: its metrics, coefficients, logprobs and weights."""
    over = {"objective": {"name": objective}, "mini_batch_prompts": 1, "learning_rate": 1e-3, "prompts_per_step": 3}
    stage = {"stages": [{"name": "math", "data": "-", "steps": 1}], "optimizer": {"warmup_steps": 0}}
    config = RLConfig.model_validate(over | stage | OBJECTIVES[objective])
    policy = load(world, tiny=UNTIED)
    reference = load(world, tiny=UNTIED) if config.kl.beta else None
    optimizer = Optimizer(policy.model, config.optimizer, 1)
    updater = Updater(policy, optimizer, config, reference, world)
    done = updater.update(few_live_rows(), config.resolved_stages()[0], seed=0, step=0, at=0)
    weights = {name: whole(p).detach().clone() for name, p in policy.model.named_parameters()}
    shown = {"logprobs": done.logprobs_BT, "c": done.coefficients_BT, "entropy": done.entropy_BT}
    return {"metrics": done.metrics, **{k: torch.from_numpy(v) for k, v in shown.items()}, **weights}


#: name -> the run; what it leaves is compared with what one process leaves.
WHOLE_RUNS: Mapping[str, Any] = {
    "sft": sft,
    "sft-one-sample": partial(sft, batch_size=1, model={"reshard": False}),
    "sft-mixed": partial(sft, model={"dtype": "mixed", "gradient_checkpointing": True, "tiny": UNTIED}),
    "rl-gppo": rl,
    "rl-solo": partial(rl, solo=True),
    "rl-mixed": partial(rl, model={"dtype": "mixed"}),
}
#: Stopped after two steps by two ranks, to be continued by one; and the other way round.
STOPPED_RUNS: Mapping[str, Any] = {
    "sft-two-then-one": sft,
    "rl-gspo-two-then-one": partial(
        rl,
        objective={"name": "gspo"},
        kl={"beta": 0.05},
        old_logprobs="recompute",
        epochs=2,
        model={"reshard": False},
    ),
}
CONTINUED_RUNS: Mapping[str, Any] = {"sft-one-then-two": sft, "rl-one-then-two": rl}


def on_two_ranks(folder: Path) -> None:
    torch.set_num_threads(1)
    with joined() as world:
        for name, train in (WHOLE_RUNS | CONTINUED_RUNS).items():
            train(folder / name, world)
        for name, train in STOPPED_RUNS.items():
            with pytest.raises(Interrupted, match="step 2 of 4"):
                train(folder / name, world, stop_at=2)
        with pytest.raises(GppoError, match=r"OSError: the judge broke; more in .*, the 2 steps before it are saved"):
            rl(folder / "rl-broken", world, judge=BreakingJudge(world, after=20), save_every=100)
        for name in OBJECTIVES:
            found = update(name, world)
            if world.leads:
                torch.save(found, folder / f"{name}.pt")


if __name__ == "__main__":
    on_two_ranks(Path(sys.argv[1]))
