"""Chat turns to tokens, through the model's own template."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import TemplateError

from gppo.types import Message, UserError


def _render(tokenizer: Any, messages: Sequence[Message], *, generate: bool) -> list[int]:
    if not tokenizer.chat_template:
        raise UserError(
            "the tokenizer has no chat template: use an instruction model's tokenizer, or put a chat_template.jinja in "
            "its folder"
        )
    try:
        return tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=generate, tokenize=True, return_dict=False
        )
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        roles = ", ".join(turn["role"] for turn in messages) or "none"
        reason = " ".join(str(error).split()).rstrip(".")
        raise UserError(
            f"the chat template refuses a conversation with the turns {roles}: {reason}; "
            "change the turns, or the template in the tokenizer's folder"
        ) from error


def encode_prompt(tokenizer: Any, messages: Sequence[Message]) -> np.ndarray:
    """Tokens after which the model answers, int64 [S]."""
    return np.asarray(_render(tokenizer, messages, generate=True), dtype=np.int64)


def encode_conversation(tokenizer: Any, messages: Sequence[Message]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of a whole conversation and which of them the model is trained to say.

    A turn of the assistant counts from the end of its generation prompt to its stop token, that included: what it is
    asked to produce when it samples, and nothing else.

    Returns:
        ids int64 [L], loss_mask bool [L].

    Raises:
        UserError: the template does not extend the prompt when the answer is added (the mask would be wrong), it
            refuses the turns, or there is no assistant turn.
    """
    if not any(turn["role"] == "assistant" for turn in messages):
        raise UserError("a conversation has no assistant turn: there is nothing to learn from it")
    ids = _render(tokenizer, messages, generate=False)
    mask = np.zeros(len(ids), dtype=bool)
    for i, turn in enumerate(messages):
        if turn["role"] != "assistant":
            continue
        prompt = _render(tokenizer, messages[:i], generate=True)
        upto = _render(tokenizer, messages[: i + 1], generate=False)
        if upto[: len(prompt)] != prompt:
            raise UserError(
                f"the chat template's generation prompt is not how it begins turn {i + 1} once that is written (it may "
                "open <think>, or drop the reasoning), so what the model should say cannot be told; train with a "
                "template that keeps the turn whole"
            )
        if ids[: len(upto)] != upto:
            raise UserError(
                f"the chat template rewrites turn {i + 1} when later turns follow, so its tokens cannot be told apart; "
                "split the conversation so that this assistant turn is the last"
            )
        mask[len(prompt) : len(prompt) + _spoken(tokenizer, upto[len(prompt) :])] = True
    return np.asarray(ids, dtype=np.int64), mask


def _spoken(tokenizer: Any, turn: list[int]) -> int:
    """How many tokens of a turn are the model's: up to its stop token, not the newline that templates may add."""
    special = {token for token, added in tokenizer.added_tokens_decoder.items() if added.special}
    stop = max((i for i, token in enumerate(turn) if token in special), default=None)
    if stop is None or tokenizer.decode(turn[stop + 1 :]).strip():
        return len(turn)
    return stop + 1


def opens_thinking(tokenizer: Any, prompt_ids: np.ndarray) -> bool:
    """Whether the prompt itself ends inside an opened <think>, as some templates do."""
    tail = tokenizer.decode(prompt_ids[-16:], skip_special_tokens=False)
    return tail.rstrip().endswith("<think>")
