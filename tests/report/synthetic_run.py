"""A run folder as a real run leaves it, made through the real writers, without training anything."""

import json
import math
import re
from pathlib import Path

import numpy as np
import yaml

from gppo.evaluate import save_evaluation
from gppo.run import RolloutRow, RunFolder, write_rollouts
from gppo.types import Evaluation, SamplingSettings

DIFFICULTIES = ("4 steps", "6 steps", "9 steps")
HOSTILE = (
    "</script><script>document.title='pwned'</script>"
    "<img src=https://evil.example/x onerror=\"document.title='pwned'\">"
)


def recipe(name: str, rl_steps: int) -> dict:
    return {
        "name": name,
        "seed": 0,
        "model": {"path": None, "tiny": {"layers": 4, "hidden_size": 128}, "tokenizer": "bytes"},
        "rl": {
            "objective": {"name": "gppo", "params": {"epsilon_high": 0.28}},
            "prompts_per_step": 64,
            "group_size": 8,
            "stages": [{"name": "sums", "data": "sums.jsonl", "steps": rl_steps}],
        },
    }


def skill(step: float, rl_steps: int) -> float:
    return 0.06 + 0.84 / (1 + math.exp(-(step - 0.37 * rl_steps) / (0.1 * rl_steps)))


def make_run(
    path: Path, *, name: str = "synthetic", sft_steps: int = 50, rl_steps: int = 12, planned: int | None = None
):
    """A finished run, or one that stopped after ``rl_steps`` of ``planned``."""
    planned = planned or rl_steps
    run = RunFolder.create(path, yaml.safe_dump(recipe(name, planned), sort_keys=False))
    rng = np.random.default_rng(0)
    rows = 12000
    for step, keep, why in [
        ("read", 1.0, "two sources"),
        ("exact duplicates", 0.87, "same prompt after normalising"),
        ("decontaminate", 0.99, "9-gram overlap with an evaluation set"),
        ("select", 0.4, "K-Center"),
    ]:
        run.log("funnel", step=step, rows_in=rows, rows_out=int(rows * keep), why=why)
        rows = int(rows * keep)
    run.log("info", unseen_difficulties=["9 steps"])
    for step in range(1, sft_steps + 1):
        loss = 0.25 + 2.6 * math.exp(-step / (0.2 * sft_steps)) + rng.normal(0, 0.03)
        run.log("sft", step=step, loss=loss, learning_rate=1e-3, grad_norm=1.0, tokens=4000, seconds=0.25)
    for step in range(1, rl_steps + 1):
        run.log("rl", **rl_line(step, planned, rng))
    for step in (0, planned // 3, 2 * planned // 3, planned):
        if step <= rl_steps:
            save_evaluation(run.evaluations, evaluation("held-out T=1", step, planned, k=8))
            save_evaluation(run.evaluations, evaluation("held-out greedy", step, planned, k=1))
    if rl_steps:
        write_rollouts(run.rollouts, rl_steps, rollouts(rl_steps))
        write_tokenizer(run.checkpoints / "rl" / f"step-{rl_steps:06d}")
    return run


def rl_line(step: int, planned: int, rng: np.random.Generator) -> dict:
    p = skill(step, planned)
    outside = 0.004 * math.exp(-(((step / planned) - 0.25) ** 2) * 36) + 0.0009
    high, low, negative_high, negative_low = (
        abs(outside * share + rng.normal(0, 1e-4)) for share in (0.6, 0.2, 0.1, 0.4)
    )
    kept = int(64 * 4 * p * (1 - p))
    right = int((64 - kept) * p)
    seconds = {"generate": 0.55 + rng.normal(0, 0.03), "judge": 0.08, "update": 0.4 + rng.normal(0, 0.03)}
    return {
        "step": step,
        "stage": "sums",
        "seconds": sum(seconds.values()) + 0.05,
        **{f"seconds_{key}": value for key, value in seconds.items()},
        "reward_mean": 2 * p - 1 + rng.normal(0, 0.03),
        "correct_share": min(1.0, max(0.0, p + rng.normal(0, 0.02))),
        "unparsable_share": 0.02 * math.exp(-step / 8),
        "infra_share": 0.0,
        "truncated_share": 0.03 * math.exp(-step / 10),
        "thinking_share": 0.99,
        "length_mean": 52 + 4 * p + rng.normal(0, 0.4),
        "length_p95": 61 + 5 * p + rng.normal(0, 0.5),
        "groups_kept": kept,
        "groups_mixed": kept,
        "groups_all_correct": right,
        "groups_all_wrong": 64 - kept - right,
        "learning_rate": 2e-5,
        "grad_norm": 0.6 + 200 * outside + abs(rng.normal(0, 0.06)),
        "updates": 16,
        "bad_updates": 0,
        "clip_positive_high": high,
        "clip_positive_low": low,
        "clip_negative_high": negative_high,
        "clip_negative_low": negative_low,
        "clip_fraction": high + negative_low,
        "given_back": 9 * (high + negative_low),
        "would_drop": 14 * (high + negative_low),
        "entropy": 0.12 - 0.05 * p + rng.normal(0, 0.004),
        "ratio_mean": 1.0,
        "ratio_p01": 0.93 + rng.normal(0, 0.01),
        "ratio_p50": 1.0,
        "ratio_p99": 1.08 + rng.normal(0, 0.01),
        "ratio_max": 2.5,
        "saturated": 0.0,
        "kl_old": 0.0007 * (1 + kept / 64) + abs(rng.normal(0, 1e-4)),
        "mismatch_mean": 2e-7,
        "mismatch_max": float("nan") if step == 2 else 3e-6,
        "lm_tokens": 2000,
    }


def evaluation(name: str, step: int, planned: int, k: int, problems: int = 240) -> Evaluation:
    rng = np.random.default_rng(17)  # the same draws at every step, so that problems keep their difficulty
    difficulty = tuple(DIFFICULTIES[i % 3] for i in range(problems))
    hardness_P = np.array([{"4 steps": 0.06, "6 steps": 0.0, "9 steps": -0.14}[label] for label in difficulty])
    p = skill(step, planned) if step else (0.06 if k > 1 else 0.01)
    correct_PK = rng.random((problems, k)) < (p + hardness_P * min(1, step))[:, None]
    return Evaluation(
        name=name,
        step=step,
        sampling=SamplingSettings(temperature=1.0 if k > 1 else 0.0, max_tokens=128),
        problem_ids=tuple(f"sums-{i:05d}" for i in range(problems)),
        difficulty=difficulty,
        correct_PK=correct_PK,
        valid_PK=np.ones_like(correct_PK),
        lengths_PK=rng.integers(40, 70, size=correct_PK.shape),
        truncated_PK=np.zeros_like(correct_PK),
    )


THINKING = "31 + 4 = 35. Wait, 35 + 7 = 42\nHowever, 42 + 8 = 50, wait: yes.\n</think>\nThe answer is \\boxed{50}."
SLIP = "31 + 4 = 35. So 35 + 7 = 41\nHowever, 41 + 8 = 49.\n</think>\nThe answer is \\boxed{49}."
MULTILINGUAL = "数学 ✅ \u202eevil\u202c שלום\n</think>\\boxed{49}"
ENDLESS = "31 + 4 = 35\n35 + 7 = 42\n" * 12
CASES = [
    ("sums-00001", THINKING, 1.0, "correct", "50", {"answer": 1.0, "format": 0.0}),
    ("sums-00001", SLIP, -1.0, "wrong", "49", {"answer": -1.0, "format": 0.0}),
    ("sums-00002", THINKING, 1.0, "correct", "50", {"answer": 1.0, "format": 0.0}),
    ("sums-00002", THINKING, 1.0, "correct", "50", {"answer": 1.0, "format": 0.0}),
    ("sums-00003", ENDLESS, -1.5, "unparsable", None, {"answer": -1.0, "format": -0.5}),
    ("sums-00003", THINKING, 1.0, "correct", "50", {"answer": 1.0, "format": 0.0}),
    (
        "sums-00004",
        f"{HOSTILE}</think>\\boxed{{{HOSTILE}}}",
        -1.4,
        "wrong",
        HOSTILE,
        {"answer": -1.0, HOSTILE: -0.4},
    ),
    ("sums-00004", MULTILINGUAL, 1.0, "wrong", "49", {"answer": 1.0}),
    ("sums-00005", "never judged", float("nan"), "infra", None, {}),
]


def pieces(text: str) -> list[bytes]:
    """A text as tokens: a word with the space before it, or one byte."""
    found = re.findall(r" ?[A-Za-z]+|[^A-Za-z]", text)
    return [part for piece in found for part in ([piece.encode()] if len(piece) > 1 else _bytes(piece))]


def _bytes(piece: str) -> list[bytes]:
    return [bytes([byte]) for byte in piece.encode()]


VOCABULARY = list(
    dict.fromkeys([bytes([b]) for b in range(256)] + [piece for case in CASES for piece in pieces(case[1])])
)


def write_tokenizer(folder: Path) -> None:
    """A byte-level tokenizer.json, as checkpoints hold it, with no more in it than its reader needs."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    char = {byte: chr(byte) for byte in visible} | {byte: chr(256 + k) for k, byte in enumerate(hidden)}
    vocabulary = {"".join(char[byte] for byte in piece): i for i, piece in enumerate(VOCABULARY)}
    end = {"id": len(VOCABULARY), "content": "<|end|>", "special": True}
    folder.mkdir(parents=True, exist_ok=True)
    content = {"model": {"type": "BPE", "vocab": vocabulary}, "added_tokens": [end], "decoder": {"type": "ByteLevel"}}
    (folder / "tokenizer.json").write_text(json.dumps(content))


def rollouts(step: int) -> list[RolloutRow]:
    """Five problems; the answers to one are all right, so no update saw them; some try to break the page."""
    return [row(step, index, *case) for index, case in enumerate(CASES)]


def row(step, index, problem, response, reward, verdict, extracted, parts) -> RolloutRow:
    rng = np.random.default_rng(index)
    ids = np.array([VOCABULARY.index(piece) for piece in pieces(response)], dtype=np.int32)
    if extracted is not None:
        ids = np.append(ids, np.int32(len(VOCABULARY)))
    sampled = -np.abs(rng.normal(0, 1, len(ids))).astype(np.float32)
    learned = problem not in ("sums-00002", "sums-00005")
    return RolloutRow(
        step=step,
        stage="sums",
        problem_id=problem,
        sample=index % 2,
        prompt_text="<|im_start|>user\nWhat is 31 + 4 + 7 + 8?<|im_end|>\n<|im_start|>assistant\n<think>\n",
        response_text=response,
        prompt_ids=np.arange(5, dtype=np.int32),
        response_ids=ids,
        sampled_logprobs=sampled,
        update_logprobs=sampled + rng.normal(0, 0.25, len(ids)).astype(np.float32) if learned else None,
        entropy=np.abs(rng.normal(0, 1, len(ids))).astype(np.float32) if learned else None,
        advantage=reward / 2 if learned else 0.0,
        coefficient=rng.normal(0, 1, len(ids)).astype(np.float32) if learned else None,
        reward=reward,
        reward_parts=json.dumps(parts),
        finish_reason="length" if extracted is None else "stop",
        verdict=verdict,
        extracted=extracted,
        rule="equal as numbers" if verdict == "correct" else "",
        ground_truth="50",
        difficulty="6 steps",
    )
