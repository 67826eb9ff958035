"""The head's log-probabilities and gradients beside the naive way: time, peak memory, and whether they are equal.

    python benchmarks/head.py [--vocabulary 151936] [--hidden 1024] [--tokens 8192] [--rounds 1] [--threads 2]

The naive way makes all logits, takes log_softmax, gathers, and lets autograd go back. Ours are the single pass, in
which coefficients are computed while a chunk's logits are at hand, and the one that computes each chunk again in the
backward. Every measurement is a process of its own, because a process's peak never falls; the ways take turns. Memory
is the resident peak beyond weights and inputs, gradients included. Prints a table and one line of JSON. At the default
size the naive way needs about 16 GB, and a round takes several minutes on two cores.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor

from gppo.policy import chunked_logprobs, single_pass_logprobs

WAYS = ("naive", "single pass", "recomputed")


def inputs(vocabulary: int, hidden: int, tokens: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight_VH = (torch.randn(vocabulary, hidden, generator=generator) * hidden**-0.5).requires_grad_()
    hidden_NH = torch.randn(tokens, hidden, generator=generator).requires_grad_()
    targets_N = torch.randint(vocabulary, (tokens,), generator=generator)
    return hidden_NH, weight_VH, targets_N, torch.randn(tokens, generator=generator) / tokens


def run(way: str, hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor, c_N: Tensor) -> None:
    """Add the gradient of -sum c * logprob to both tensors."""
    if way == "naive":
        logprobs_NV = torch.nn.functional.linear(hidden_NH, weight_VH).log_softmax(-1)
        torch.autograd.backward(logprobs_NV.gather(1, targets_N[:, None]).squeeze(1), -c_N)
    elif way == "single pass":
        single_pass_logprobs(hidden_NH, weight_VH, None, targets_N, lambda _, part: c_N[part])[0].backward()
    else:
        torch.autograd.backward(chunked_logprobs(hidden_NH, weight_VH, None, targets_N)[0], -c_N)


def resident(key: str) -> float:
    """VmRSS or VmHWM of this process, MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024 / 1e6


def one(way: str, options: argparse.Namespace) -> dict:
    """Time and memory of one way, and where to find its gradients' samples; in a fresh process."""
    tensors = inputs(options.vocabulary, options.hidden, options.tokens)
    run(way, *inputs(64, 16, 8))  # what is loaded at the first use
    before, start = resident("VmRSS"), time.perf_counter()
    run(way, *tensors)
    seconds, extra = time.perf_counter() - start, resident("VmHWM") - before
    hidden_NH, weight_VH, *_ = tensors
    assert hidden_NH.grad is not None
    assert weight_VH.grad is not None
    torch.save((hidden_NH.grad, weight_VH.grad), options.save)
    return {"seconds": seconds, "extra_mb": extra}


def error(folder: Path, way: str) -> float:
    """The largest ||ours - naive|| / ||naive|| of the two gradients."""
    pairs = zip(torch.load(folder / way), torch.load(folder / "naive"), strict=True)
    return max(float((got - expected).norm() / expected.norm()) for got, expected in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--save", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        print(json.dumps(one(options.one, options)))
        return
    found: dict[str, list[dict]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for way in WAYS:
                command = [sys.executable, __file__, *sys.argv[1:], "--one", way, "--save", str(Path(folder, way))]
                found[way].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        errors = {way: error(Path(folder), way) for way in WAYS[1:]}
    seconds = {way: statistics.median(run["seconds"] for run in runs) for way, runs in found.items()}
    memory = {way: max(run["extra_mb"] for run in runs) for way, runs in found.items()}
    print(f"{'way':14}{'seconds':>9}{'x naive':>9}{'extra MB':>10}{'x naive':>9}{'gradient error':>16}")
    for way in WAYS:
        ratios = seconds[way] / seconds["naive"], memory[way] / memory["naive"]
        wrong = f"{errors[way]:16.1e}" if way in errors else ""
        print(f"{way:14}{seconds[way]:9.2f}{ratios[0]:9.2f}{memory[way]:10.0f}{ratios[1]:9.3f}{wrong}")
    ratio = {way: seconds[way] / seconds["naive"] for way in WAYS[1:]}
    line = {"ours": {way: seconds[way] for way in WAYS[1:]}, "peer": seconds["naive"], "ratio": ratio}
    sizes = {key: getattr(options, key) for key in ("vocabulary", "hidden", "tokens", "rounds", "threads")}
    machine = {"machine": platform.machine(), "torch": torch.__version__}
    print(
        json.dumps({"benchmark": "head", "unit": "s", **line, "extra_mb": memory, "error": errors, **sizes, **machine})
    )


if __name__ == "__main__":
    main()
