"""Exact duplicates: of several records with one key, the first stays.

Memory is one 128-bit digest for each distinct record; among a billion records the chance that two different ones share
a digest is below 1e-20.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from gppo.curate.normalise import normal_form
from gppo.types import Message

Record = TypeVar("Record")


def question(messages: Sequence[Message]) -> str:
    """What is asked: every turn but the assistant's and the system's, which is the same for a whole set."""
    return "\n".join(turn["content"] for turn in messages if turn["role"] not in ("assistant", "system"))


def problem_key(prompt: Sequence[Message]) -> bytes:
    """Key of a problem: two problems that ask the same in normal form are duplicates, whatever their answers say."""
    return _digest(normal_form(question(prompt)))


def conversation_key(messages: Sequence[Message]) -> bytes:
    """Key of a conversation: the question in normal form and the assistant's turns to the letter.

    Several different responses to one prompt are wanted in SFT sets, so they are no duplicates.
    """
    answers = (turn["content"] for turn in messages if turn["role"] == "assistant")
    return _digest(normal_form(question(messages)), *answers)


def unique(records: Iterable[Record], key: Callable[[Record], bytes]) -> Iterator[Record]:
    """The records without those whose key came before, in order."""
    seen: set[bytes] = set()
    for record in records:
        digest = key(record)
        if digest not in seen:
            seen.add(digest)
            yield record


def _digest(*parts: str) -> bytes:
    """128 bits over the parts; each is preceded by its length, so ("ab", "c") and ("a", "bc") differ."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "little"))
        hashed.update(data)
    return hashed.digest()
