"""The best and the worst responses of the last saved step, cut to a length that a person reads."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gppo.report.numbers import number
from gppo.run import RolloutRow, read_rollouts, rollout_steps

LONGEST = 8000  # characters of one text; more is cut in the middle
SHOWN = 3  # responses of each kind


@dataclass(frozen=True, slots=True)
class Sample:
    """One response as the page shows it.

    Args:
        kind: "best" or "worst".
        step: the training step it was sampled at.
        stage: the stage's name.
        problem_id: the problem.
        difficulty: its label, "" where unknown.
        prompt: the prompt as the model saw it.
        thinking: the reasoning before the last </think>, "" where there is none.
        answer: what follows it; empty where thinking never ended.
        closed: False where thinking was opened and never closed.
        reward: the reward, None where nothing was judged.
        reward_parts: name -> value.
        verdict: the judge's status.
        rule: what decided.
        extracted: the answer as found, "" where none was.
        ground_truth: the right answer, "" where unknown.
        advantage: the response's advantage, None where it was left out of the update.
        truncated: whether it was cut at the limit.
        tokens: its length.
    """

    kind: str
    step: int
    stage: str
    problem_id: str
    difficulty: str
    prompt: str
    thinking: str
    answer: str
    closed: bool
    reward: float | None
    reward_parts: dict[str, float]
    verdict: str
    rule: str
    extracted: str
    ground_truth: str
    advantage: float | None
    truncated: bool
    tokens: int


def samples_of(folder: Path) -> list[Sample]:
    """The ``SHOWN`` best and worst responses of the last saved step, each of another problem where there are enough.

    Empty where the folder holds no rollouts.
    """
    steps = rollout_steps(folder)
    if not steps:
        return []
    judged = [row for row in read_rollouts(folder, steps[-1]) if number(row.reward) is not None]
    best = _distinct(sorted(judged, key=lambda row: (-row.reward, len(row.response_ids))))
    chosen = {id(row) for row in best}
    worst = _distinct([row for row in sorted(judged, key=lambda row: row.reward) if id(row) not in chosen])
    return [sample_of("best", row) for row in best] + [sample_of("worst", row) for row in worst]


def split_thinking(prompt: str, response: str) -> tuple[str, str, bool]:
    """A response as (thinking, answer, closed).

    Closed: thinking ends at the last </think>. Opened, in the prompt or the response, and not closed: all of it is
    thinking. Neither tag: all of it is the answer.
    """
    head, tag, tail = response.rpartition("</think>")
    if tag:
        return head.removeprefix("<think>").strip("\n"), tail.strip("\n"), True
    opened_before = prompt.rfind("<think>") > prompt.rfind("</think>")
    if opened_before or "<think>" in response:
        return response.removeprefix("<think>").strip("\n"), "", False
    return "", response.strip("\n"), True


def shorten(text: str, longest: int = LONGEST) -> str:
    """Text of at most about ``longest`` characters: the middle gives way and says how much is gone."""
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n\n[… {len(text) - 2 * half:,} characters left out …]\n\n{text[-half:]}"


def _distinct(rows: Sequence[RolloutRow]) -> list[RolloutRow]:
    """The first rows, one a problem; a problem comes twice only where there are too few."""
    first: dict[str, RolloutRow] = {}
    for row in rows:
        first.setdefault(row.problem_id, row)
    chosen = list(first.values())[:SHOWN]
    taken = {id(row) for row in chosen}
    return chosen + [row for row in rows if id(row) not in taken][: SHOWN - len(chosen)]


def sample_of(kind: str, row: RolloutRow) -> Sample:
    """A response as the page shows it."""
    thinking, answer, closed = split_thinking(row.prompt_text, row.response_text)
    return Sample(
        kind=kind,
        step=row.step,
        stage=row.stage,
        problem_id=row.problem_id,
        difficulty=row.difficulty,
        prompt=shorten(row.prompt_text.strip("\n")),
        thinking=shorten(thinking),
        answer=shorten(answer),
        closed=closed,
        reward=number(row.reward),
        reward_parts=_parts(row.reward_parts),
        verdict=row.verdict,
        rule=row.rule,
        extracted=shorten(row.extracted or "", 400),
        ground_truth=shorten(row.ground_truth, 400),
        advantage=number(row.advantage),
        truncated=row.finish_reason == "length",
        tokens=len(row.response_ids),
    )


def _parts(text: str) -> dict[str, float]:
    try:
        parts = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return {str(key): value for key, raw in parts.items() if (value := number(raw)) is not None}
