"""One training step's update beside a plain padded one in transformers, and the matmuls that it cannot do without.

    python benchmarks/update.py [--rounds 7] [--threads 2] [--hidden 128] [--layers 4] [--case NAME ...]

A step is 16 prompts x 8 responses in 4 optimizer steps of whole groups, GPPO, AdamW, gradient clipping, float32. The
plain way pads every mini-batch to its longest row, takes log_softmax of the logits, and lets autograd do the rest; it
keeps no diagnostics. The floor is the matrix products of the tokens that ours computes, forward and backward, alone.
The ways are interleaved; times are medians, with the smallest and the largest. Prints a table and one line of JSON.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from gppo.config.optimizer import OptimizerConfig
from gppo.config.rl import ResolvedStage, RLConfig
from gppo.policy import Optimizer, Policy, byte_tokenizer
from gppo.policy.products import linear_product
from gppo.rl.batch import mini_batches
from gppo.rl.update import Updater
from gppo.types import Batch

PROMPTS, GROUP, UPDATES, VOCABULARY = 16, 8, 4, 24
CASES = {
    "uniform": "7-token prompts, 32-token responses",
    "long tail": "7-token prompts, log-normal responses, median 64, at most 512",
    "long prompts": "512-token prompts, 64-token responses",
}


def small_model(hidden: int, layers: int) -> nn.Module:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=VOCABULARY,
            hidden_size=hidden,
            intermediate_size=3 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=hidden // 4,
            max_position_embeddings=1024,
            tie_word_embeddings=False,
        )
    )


def batch_of(case: str) -> Batch:
    """Random tokens and advantages; sampled logprobs near those of a fresh model."""
    rng = np.random.default_rng(0)
    rows = PROMPTS * GROUP
    lengths = np.full(rows, {"uniform": 32, "long prompts": 64}.get(case, 0))
    if case == "long tail":
        lengths = np.clip(np.exp(rng.normal(np.log(64), 1.0, rows)), 1, 512).astype(np.int64)
    prompts = [rng.integers(VOCABULARY, size=512 if case == "long prompts" else 7) for _ in range(PROMPTS)]
    mask_BT = np.arange(lengths.max()) < lengths[:, None]
    rewards_PG = rng.integers(2, size=(PROMPTS, GROUP))
    rewards_PG[:, 0], rewards_PG[:, 1] = 0, 1  # every group has something to learn from
    advantages_PG = (rewards_PG - rewards_PG.mean(1, keepdims=True)) / rewards_PG.std(1, keepdims=True)
    return Batch(
        prompt_ids=tuple(prompt for prompt in prompts for _ in range(GROUP)),
        response_ids_BT=np.where(mask_BT, rng.integers(VOCABULARY, size=mask_BT.shape), 0),
        mask_BT=mask_BT,
        sampled_logprobs_BT=np.where(mask_BT, -np.log(VOCABULARY), 0).astype(np.float32),
        advantages_B=advantages_PG.reshape(-1),
        policy_row_B=np.ones(rows, dtype=bool),
        correct_B=rewards_PG.reshape(-1) == 1,
        group_B=np.repeat(np.arange(PROMPTS), GROUP),
    )


def ours(model: nn.Module, batch: Batch, compiled: bool) -> Callable[[], object]:
    policy = Policy(model, byte_tokenizer(), 1024, compiled=compiled)
    stage = {"name": "bench", "data": "none", "steps": 1, "prompts_per_step": PROMPTS, "group_size": GROUP}
    stage |= {"mini_batch_prompts": PROMPTS // UPDATES}
    config = RLConfig.model_validate({"stages": [stage], "old_logprobs": "sampled", "mini_batch_prompts": 1})
    updater = Updater(policy, Optimizer(model, OptimizerConfig(learning_rate=1e-6), 100), config)
    resolved = ResolvedStage(**(config.stages[0].model_dump(exclude_none=True) | {"learning_rate": 1e-6}))
    return lambda: updater.update(batch, resolved, seed=0, step=0, at=0)


def plain(model: nn.Module, batch: Batch) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6, weight_decay=0.1, fused=True)

    def mini_step(rows: np.ndarray) -> None:
        small = batch.rows(rows)
        lengths = [len(prompt) + length for prompt, length in zip(small.prompt_ids, small.lengths_B, strict=True)]
        ids = torch.zeros(len(rows), max(lengths), dtype=torch.int64)
        target = torch.zeros(ids.shape, dtype=torch.bool)
        for i, (prompt, response, mask) in enumerate(
            zip(small.prompt_ids, small.response_ids_BT, small.mask_BT, strict=True)
        ):
            ids[i, : lengths[i]] = torch.from_numpy(np.concatenate([prompt, response[mask]]))
            target[i, len(prompt) : lengths[i]] = True
        exists = torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]
        logits = model(input_ids=ids, attention_mask=exists.long(), use_cache=False).logits[:, :-1]
        logprobs = logits.log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)[target[:, 1:]]
        old = torch.from_numpy(small.sampled_logprobs_BT[small.mask_BT])
        advantages = torch.from_numpy(np.repeat(small.advantages_B, small.lengths_B)).float()
        ratio = (logprobs.detach() - old).exp()
        weights = torch.where(advantages > 0, ratio.clamp(max=1.28), ratio.clamp(min=0.8))
        correct = torch.from_numpy(np.repeat(small.correct_B, small.lengths_B)).float()
        loss = -(weights * advantages * logprobs).mean() - 0.1 * (correct * logprobs).sum() / correct.sum()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    def step() -> None:
        for rows in mini_batches(batch, PROMPTS // UPDATES, seed=0, step=0, epoch=0):
            mini_step(rows)

    return step


def tokens_of(batch: Batch) -> tuple[int, int]:
    """What ours computes in a step, and what the plain way does."""
    prompts, responses = sum(len(batch.prompt_ids[i]) for i in range(0, len(batch), GROUP)), batch.lengths_B - 1
    padded = 0
    for rows in mini_batches(batch, PROMPTS // UPDATES, seed=0, step=0, epoch=0):
        padded += len(rows) * max(len(batch.prompt_ids[i]) + int(batch.lengths_B[i]) for i in rows)
    return prompts + int(responses.sum()), padded


def matmuls(model: nn.Module, batch: Batch) -> Callable[[], None]:
    """The products of every linear layer with a mini-batch's tokens: forward, and the two of the backward."""
    tokens = tokens_of(batch)[0] // UPDATES
    weights = [layer.weight.detach() for layer in model.modules() if isinstance(layer, nn.Linear)]
    made = {(len(weight), weight.shape[1]) for weight in weights}
    inputs = {(out, width): (torch.randn(tokens, width), torch.randn(tokens, out)) for out, width in made}

    @torch.no_grad()
    def step() -> None:
        for _ in range(UPDATES):
            for weight in weights:
                x, grad = inputs[len(weight), weight.shape[1]]
                linear_product(x, weight)
                linear_product(grad, weight.t())
                linear_product(grad.t(), x.t())

    return step


def measure(case: str, rounds: int, hidden: int, layers: int, compiled: bool, clock: Callable[[], float]) -> dict:
    batch = batch_of(case)
    ways = {
        "ours": ours(small_model(hidden, layers), batch, compiled),
        "plain": plain(small_model(hidden, layers), batch),
        "matmuls": matmuls(small_model(hidden, layers), batch),
    }
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            start = clock()
            way()
            if turn:  # the first warms up
                spent[name].append(1000 * (clock() - start))
    median = {name: statistics.median(values) for name, values in spent.items()}
    packed, padded = tokens_of(batch)
    return {
        "case": case,
        "tokens": {"ours": packed, "plain": padded, "learned": int(batch.lengths_B.sum())},
        "ours": median["ours"],
        "peer": median["plain"],
        "floor": median["matmuls"],
        "ratio": median["plain"] / median["ours"],
        "spread": {name: [min(values), max(values)] for name, values in spent.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="model.compile of ours")
    parser.add_argument("--cpu-time", action="store_true", help="count processor seconds, on a machine that is shared")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.process_time if options.cpu_time else time.perf_counter
    settings = (options.rounds, options.hidden, options.layers, options.compile, clock)
    results = [measure(case, *settings) for case in options.case or CASES]
    heads = ("ours", "plain", "matmuls", "plain/ours", "tokens", "padded")
    print(f"{'ms a step of 4 updates':24}" + "".join(f"{head:>12}" for head in heads))
    for found in results:
        cells = [f"{found[key]:12.0f}" for key in ("ours", "peer", "floor")]
        cells += [f"{found['ratio']:11.2f}x", f"{found['tokens']['ours']:12}", f"{found['tokens']['plain']:12}"]
        print(f"{found['case']:24}" + "".join(cells))
    machine = {"machine": platform.processor() or platform.machine(), "torch": torch.__version__}
    print(json.dumps({"benchmark": "update", "unit": "ms a step", **machine, **vars(options), "results": results}))


if __name__ == "__main__":
    main()
