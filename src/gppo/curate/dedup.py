"""Exact duplicates: of several records with one key, the first stays.

Memory is one 128-bit digest and one id for each distinct record, about 300 bytes; among a billion records the chance
that two different ones share a digest is below 1e-20.
"""

import hashlib
from collections.abc import Iterator, Sequence

from gppo.curate.normalise import normal_form
from gppo.curate.step import Bench, Items, Removed, Training
from gppo.types import Message, Problem


def question(messages: Sequence[Message]) -> str:
    """What is asked: every turn but the assistant's and the system's, which is the same for a whole set."""
    return "\n".join(turn["content"] for turn in messages if turn["role"] not in ("assistant", "system"))


def problem_key(prompt: Sequence[Message]) -> bytes:
    """Key of a problem: two problems that ask the same in normal form are duplicates, whatever their answers say."""
    return question_key(question(prompt))


def question_key(text: str) -> bytes:
    """Key of the text of a question: its normal form."""
    return _digest(normal_form(text))


def conversation_key(messages: Sequence[Message]) -> bytes:
    """Key of a conversation: the question in normal form and the assistant's turns to the letter.

    Several different responses to one prompt are wanted in SFT sets, so they are no duplicates.
    """
    answers = (turn["content"] for turn in messages if turn["role"] == "assistant")
    return _digest(normal_form(question(messages)), *answers)


class ExactDedup:
    """Of several records with one key, the first stays."""

    title = "exact duplicates"
    passes = 1

    def changes(self, items: Items, bench: Bench) -> Iterator[Removed]:
        """The records whose key came before."""
        same = "asks the same" if bench.kind == "problems" else "asks the same and answers to the letter"
        first: dict[bytes, tuple[str, str]] = {}
        for item in items:
            key = record_key(item.record)
            earlier = first.setdefault(key, (item.source, item.record.id))
            if earlier != (item.source, item.record.id):
                source, name = earlier
                yield Removed(item, "exact duplicate", f"{same} as {name} of {source}", {"source": source, "id": name})


def record_key(record: Training) -> bytes:
    """``problem_key`` or ``conversation_key``, as the record is."""
    return problem_key(record.prompt) if isinstance(record, Problem) else conversation_key(record.messages)


def asked(record: Training) -> str:
    """The question of a record."""
    return question(record.prompt if isinstance(record, Problem) else record.messages)


def _digest(*parts: str) -> bytes:
    """128 bits over the parts; each is preceded by its length, so ("ab", "c") and ("a", "bc") differ."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        hashed.update(len(data).to_bytes(8, "little"))
        hashed.update(data)
    return hashed.digest()
