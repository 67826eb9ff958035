"""The math judge with the signatures that TRL and verl call. Imports neither.

Rewards are +1 and -1, as in the paper. Thinking and format have their own rewards; see ``gppo.verify.format_kept``.
"""

from collections.abc import Sequence
from typing import Any

from gppo.types import GppoError, UserError
from gppo.verify.judge import verify
from gppo.verify.thinking import OPEN_TAG

RIGHT, WRONG = 1.0, -1.0
_COLUMNS = ("solution", "answer", "ground_truth")


def math_reward(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
    """A reward function for TRL's ``GRPOTrainer(reward_funcs=[math_reward])``.

    Args:
        prompts, completions: texts, or chats as lists of ``{"role", "content"}``; one of each a response.
        columns: the other columns of the data set; the reference answers are in "solution", "answer" or
            "ground_truth", whichever is there first.

    Returns +1 or -1 for each response, None (TRL leaves it out) where the judge itself failed.
    """
    column = next((name for name in _COLUMNS if columns.get(name) is not None), None)
    if column is None:
        raise UserError(f"math_reward finds no reference answers; the data set needs a column {', '.join(_COLUMNS)}")
    rewards: list[float | None] = []
    for prompt, completion, gold in zip(prompts, completions, columns[column], strict=True):
        opened = completion_text(prompt).rstrip().endswith(OPEN_TAG)
        verdict = verify(str(gold), completion_text(completion), prompt_opened=opened)
        rewards.append(None if verdict.status == "infra" else RIGHT if verdict.correct else WRONG)
    return rewards


def compute_score(
    data_source: str, solution_str: str, ground_truth: str, extra_info: dict[str, Any] | None = None, **_: Any
) -> dict[str, Any]:
    """A reward function for verl.

    ``reward.custom_reward_function.path=pkg://gppo.verify.rewards``, ``name=compute_score``. The arguments are verl's;
    ``extra_info["prompt_opened"]`` says that the prompt ended with ``<think>``.

    Returns "score" (+1 or -1), "acc" (1 or 0), "pred" (the answer found) and "rule" (what decided). Raises GppoError
    where the judge itself failed: verl has no reward that means nothing, and -1 would be a lie.
    """
    opened = bool((extra_info or {}).get("prompt_opened"))
    verdict = verify(str(ground_truth), solution_str, prompt_opened=opened)
    if verdict.status == "infra":
        raise GppoError(f"the math judge failed: {verdict.rule}; look at the machine's memory and run again")
    return {
        "score": RIGHT if verdict.correct else WRONG,
        "acc": float(verdict.correct),
        "pred": verdict.extracted or "",
        "rule": verdict.rule,
    }


def completion_text(message: Any) -> str:
    """What a prompt or a completion of TRL says: the text itself, or the last turn of a chat."""
    if isinstance(message, str):
        return message
    return str(message[-1]["content"]) if message else ""
