"""A teacher so small that it is taught in a second or two, and what it is asked."""

from pathlib import Path

from gppo.config import EndpointConfig, ModelConfig, SFTConfig, TinyConfig
from gppo.policy import Policy, load_policy
from gppo.run import RunFolder
from gppo.sft import encode_samples, train_sft
from gppo.types import Problem

CONTEXT = 64
LIMIT = 24  # tokens of a response
SHAPE = TinyConfig(hidden_size=32, layers=2, heads=2, kv_heads=1)
PROBLEMS = [
    Problem(f"{a}+{b}", ({"role": "user", "content": f"{a}+{b}?"},), "math", str(a + b), "sums", {"difficulty": "easy"})
    for a, b in [(1, 1), (1, 2), (2, 2), (3, 2)]
]


def traces() -> list[list[dict[str, str]]]:
    """Every sum right three times and wrong once."""
    said = [(p, int(p.ground_truth) + slip) for p in PROBLEMS for slip in (0, 0, 0, 1)]
    return [
        [*p.prompt, {"role": "assistant", "content": f"<think>{p.id}</think>\\boxed{{{total}}}"}] for p, total in said
    ]


def taught(folder: Path, steps: int = 60, shape: TinyConfig = SHAPE) -> Policy:
    policy = load_policy(ModelConfig(tiny=shape, tokenizer="bytes", max_context=CONTEXT), seed=0)
    samples, _ = encode_samples(policy.tokenizer, traces(), CONTEXT)
    config = SFTConfig(
        data="unused.jsonl", steps=steps, batch_size=16, optimizer={"learning_rate": 2e-2, "min_learning_rate": 1e-3}
    )
    train_sft(policy, samples, config, RunFolder.create(folder, "name: taught\n"), seed=0)
    return policy


def settings(url: str, **over: object) -> EndpointConfig:
    return EndpointConfig.model_validate({"url": url, "model": "tiny", "concurrency": 4, "timeout": 20.0} | over)
