"""Conversations to token rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gppo.policy import encode_conversation
from gppo.types import Message, UserError


@dataclass(frozen=True, slots=True)
class Sample:
    """One conversation as tokens.

    Args:
        ids_L: int64 [L].
        mask_L: bool [L], the tokens that are learned.
    """

    ids_L: np.ndarray
    mask_L: np.ndarray


def encode_samples(
    tokenizer: Any, conversations: Sequence[Sequence[Message]], max_length: int
) -> tuple[list[Sample], int]:
    """Tokenise conversations; those longer than ``max_length`` are left out.

    Returns:
        the samples, and how many were left out.

    Raises:
        UserError: none is short enough, or the chat template cannot tell what the assistant says in one of them.
    """
    encoded = []
    for number, turns in enumerate(conversations, start=1):
        try:
            encoded.append(Sample(*encode_conversation(tokenizer, turns)))
        except UserError as error:
            raise UserError(f"sample {number} of {len(conversations)}: {error}") from error
    samples = [sample for sample in encoded if len(sample.ids_L) <= max_length]
    if not samples:
        raise UserError(
            f"all {len(encoded)} samples are longer than {max_length} tokens (sft.max_length, or the model's context "
            "where that is smaller); raise it, or shorten the data"
        )
    return samples, len(encoded) - len(samples)
