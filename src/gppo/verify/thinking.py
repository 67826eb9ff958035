"""Where a response stops thinking and starts answering."""

from dataclasses import dataclass
from typing import Literal

OPEN_TAG = "<think>"
CLOSE_TAG = "</think>"


@dataclass(frozen=True, slots=True)
class Thinking:
    """A response cut into reasoning and answer.

    Args:
        status: "none" (no tags: the whole text is the answer), "closed", or "open" (never correct).
        thought: the reasoning without its outer tags, "" where there is none.
        answer: the text to judge, "" where the thinking is open.
    """

    status: Literal["none", "closed", "open"]
    thought: str
    answer: str


def split_thinking(response: str, prompt_opened: bool = False) -> Thinking:
    """Cut a response at its last ``</think>``.

    Args:
        response: the sampled text, without the prompt.
        prompt_opened: the prompt ended with ``<think>``, as some chat templates do.

    A tag opened (by the prompt or the response) and not closed again leaves the thinking open. A closing tag alone
    counts as closed: the opening one was in a prompt that the caller did not see.
    """
    close = response.rfind(CLOSE_TAG)
    if response.rfind(OPEN_TAG) > close or (prompt_opened and close < 0):
        return Thinking("open", response.strip().removeprefix(OPEN_TAG).strip(), "")
    if close < 0:
        return Thinking("none", "", response)
    thought = response[:close].strip().removeprefix(OPEN_TAG).strip()
    return Thinking("closed", thought, response[close + len(CLOSE_TAG) :])


def format_kept(response: str, prompt_opened: bool = False) -> bool:
    """Whether the response is exactly one ``<think>...</think>`` followed by an answer that is not blank.

    The opening tag stands first (after white space), or in the prompt and then not again.
    """
    opened_here = response.count(OPEN_TAG)
    if response.count(CLOSE_TAG) != 1 or opened_here != (0 if prompt_opened else 1):
        return False
    if opened_here and not response.lstrip().startswith(OPEN_TAG):
        return False
    return bool(response.split(CLOSE_TAG)[1].strip())
