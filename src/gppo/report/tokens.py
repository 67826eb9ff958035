"""What the token microscope shows: which rollouts, and the numbers of their tokens, in compact arrays."""

from base64 import b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import log1p
from pathlib import Path
from typing import Any

import numpy as np

from gppo.report.numbers import number
from gppo.report.pieces import Pieces
from gppo.report.samples import shorten
from gppo.run import RolloutRow, read_rollouts, rollout_steps
from gppo.types import UserError

STEPS = 8  # saved steps that a page takes where none are asked for
LOW, HIGH = log1p(-0.2), log1p(0.28)  # Clip-Higher's range, by which groups are chosen


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rollouts go onto the page.

    Args:
        steps: of these steps; empty: the first, the last and some between.
        problems: of these problems; empty: those whose responses have the most tokens that Clip-Higher would drop.
        tokens: about how many tokens, shared evenly by the steps. 14 bytes of the file each, plus a third for base64.
    """

    steps: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()
    tokens: int = 400_000


@dataclass(frozen=True, slots=True)
class Chosen:
    """The rollouts of a page, by step, and of how many they were taken."""

    rows: list[RolloutRow]
    steps: int
    responses: int


def choose_rollouts(folder: Path, choice: Choice) -> Chosen:
    """Reads the rollouts of the page. Whole groups are taken, so that a problem's responses can be compared.

    Raises:
        UserError: a step or a problem that was asked for is not there.
        GppoError: a file is damaged.
    """
    steps = sorted(set(choice.steps)) or _spread(rollout_steps(folder), STEPS)
    rows: list[RolloutRow] = []
    seen, left = 0, choice.tokens
    for k, step in enumerate(steps):
        found = read_rollouts(folder, step)
        seen += len(found)
        taken = _of_step(found, choice.problems, left // (len(steps) - k))
        left -= sum(len(row.response_ids) for row in taken)
        rows += taken
    if choice.problems and not rows:
        raise UserError(
            f"{folder}: no rollout of {', '.join(choice.problems)} at step {', '.join(map(str, steps))}; name another "
            "step or problem"
        )
    return Chosen(rows, len(rollout_steps(folder)), seen)


def log_ratio_of(row: RolloutRow) -> np.ndarray:
    """log pi - log pi_old of every token, nats, float32 [T], at the last update that saw the response, else NaN."""
    if row.update_logprobs is None:
        return np.full(len(row.response_ids), np.nan, dtype=np.float32)
    return (row.update_logprobs - old_logprobs_of(row)).astype(np.float32)


def old_logprobs_of(row: RolloutRow) -> np.ndarray:
    """What ratios are against, nats, float32 [T]: the sampler's log-probabilities, or the trainer's in their place."""
    return row.sampled_logprobs if row.old_logprobs is None else row.old_logprobs


def dropped(row: RolloutRow) -> int:
    """Tokens of the response that Clip-Higher gives no gradient."""
    x = log_ratio_of(row)
    return int((((row.advantage > 0) & (x > HIGH)) | ((row.advantage < 0) & (x < LOW))).sum())


def page_data(chosen: Chosen, pieces: Pieces, run: dict[str, Any]) -> dict[str, Any]:
    """What the page's script reads. Arrays are little-endian and base64.

    Args:
        chosen: the rollouts.
        pieces: of the run's tokenizer.
        run: what is known of the run; "first" is added to it, the rollout that is shown first.
    """
    rows = chosen.rows
    texts: dict[str, int] = {}
    prompts: dict[str, int] = {}
    ids = np.array(
        [texts.setdefault(text, len(texts)) for row in rows for text in pieces.texts(row.response_ids)], dtype="<u4"
    )
    wide = len(texts) > 1 << 16
    counts = [dropped(row) for row in rows]
    return {
        "run": {**run, "first": max(range(len(rows)), key=lambda k: (counts[k], k), default=0)},
        "rollouts": [_about(row, prompts) for row in rows],
        "prompts": list(prompts),
        "pieces": list(texts),
        "wide": wide,
        "tokens": _base64([ids if wide else ids.astype("<u2")]),
        "old": _base64(old_logprobs_of(row).astype("<f4") for row in rows),
        "log_ratio": _base64(log_ratio_of(row).astype("<f4") for row in rows),
        "entropy": _base64(_or_zeros(row.entropy, len(row.response_ids)) for row in rows),
    }


def _of_step(rows: Sequence[RolloutRow], problems: tuple[str, ...], budget: int) -> list[RolloutRow]:
    """Groups of one step in the order of what they lost, as many as the budget holds, and one response at least."""
    groups: dict[str, list[RolloutRow]] = {}
    for row in rows:
        if not problems or row.problem_id in problems:
            groups.setdefault(row.problem_id, []).append(row)
    ordered = sorted(groups.values(), key=lambda group: -sum(map(dropped, group)))
    taken: list[RolloutRow] = []
    spent = 0
    for group in ordered:
        size = sum(len(row.response_ids) for row in group)
        if spent + size <= budget or problems:
            taken += group
            spent += size
    if ordered and not taken:  # long responses: those of the first group that fit, the one that lost most first
        for row in sorted(ordered[0], key=lambda row: -dropped(row)):
            if not taken or spent + len(row.response_ids) <= budget:
                taken.append(row)
                spent += len(row.response_ids)
    return taken


def _spread(steps: Sequence[int], most: int) -> list[int]:
    """The first, the last, and others evenly between."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(k * (len(steps) - 1) / (most - 1))] for k in range(most)]


def _about(row: RolloutRow, prompts: dict[str, int]) -> dict[str, Any]:
    return {
        "step": row.step,
        "stage": row.stage,
        "problem": row.problem_id,
        "sample": row.sample,
        "prompt": prompts.setdefault(shorten(row.prompt_text.strip("\n")), len(prompts)),
        "reward": number(row.reward),
        "verdict": row.verdict,
        "advantage": number(row.advantage) or 0.0,
        "truncated": row.finish_reason == "length",
        "difficulty": row.difficulty,
        "truth": _cut(row.ground_truth),  # of a program these are its tests
        "extracted": _cut(row.extracted or ""),
        "learned": row.update_logprobs is not None,
        "tokens": len(row.response_ids),
    }


def _cut(text: str, longest: int = 120) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"


def _or_zeros(values: np.ndarray | None, length: int) -> np.ndarray:
    return np.zeros(length, dtype="<f4") if values is None else values.astype("<f4")


def _base64(arrays: Iterator[np.ndarray] | Sequence[np.ndarray]) -> str:
    return b64encode(b"".join(array.tobytes() for array in arrays)).decode()
