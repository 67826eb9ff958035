"""What is left and what went, counted while a set is written: the figures behind the page."""

import json
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gppo.curate.dedup import asked
from gppo.curate.ledger import Ledger
from gppo.curate.spool import record_of
from gppo.curate.step import Item
from gppo.records import Conversation

_EXAMPLES = 20
_LONGEST = 3000  # characters of an example that are shown


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of the rows that are left.

    Args:
        sources: rows by source.
        questions: rows by length of the question in characters, in bins that grow by a factor of the square root of
            two; the key k stands for 2^(k/2) up to 2^((k+1)/2).
        answers: the same of the assistant's turns; empty for problems.
        difficulty: rows by their label.
    """

    sources: Counter[str] = field(default_factory=Counter)
    questions: Counter[int] = field(default_factory=Counter)
    answers: Counter[int] = field(default_factory=Counter)
    difficulty: Counter[str] = field(default_factory=Counter)

    def watch(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, counted as they pass."""
        for item in items:
            record = item.record
            self.sources[item.source] += 1
            self.questions[_bin(len(asked(record)))] += 1
            if isinstance(record, Conversation):
                self.answers[_bin(sum(len(t["content"]) for t in record.messages if t["role"] == "assistant"))] += 1
            if label := record.extra.get("difficulty"):
                self.difficulty[str(label)] += 1
            yield item


def _bin(length: int) -> int:
    return int(2 * math.log2(max(1, length)))


@dataclass(frozen=True, slots=True)
class Example:
    """A row that went.

    Args:
        id: of the record.
        source: where it was read.
        reason: why it went.
        question: what it asks, cut where it is long.
        answer: what the assistant says in it, cut; "" for problems.
    """

    id: str
    source: str
    reason: str
    question: str
    answer: str


def examples_of(spool: Path, ledgers: Iterable[Ledger]) -> dict[str, list[Example]]:
    """At most 20 rows that went by each rule, in the order of the steps; the same at every start."""
    chosen: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for ledger in ledgers:
        for rule in ledger.rules:
            of_rule = (line for line in ledger.removals() if line["rule"] == rule)
            chosen[rule] += _spread(of_rule)
    rows = {line["row"] for lines in chosen.values() for line in lines}
    texts: dict[int, tuple[str, str]] = {}
    with spool.open("rb") as file:
        for row, text in enumerate(file if rows else ()):
            if row in rows:
                record = record_of(json.loads(text)[1:])
                turns = record.messages if isinstance(record, Conversation) else ()
                answer = "\n".join(turn["content"] for turn in turns if turn["role"] == "assistant")
                texts[row] = asked(record)[:_LONGEST], answer[:_LONGEST]
    return {
        rule: [Example(line["id"], line["source"], line["reason"], *texts[line["row"]]) for line in lines[:_EXAMPLES]]
        for rule, lines in chosen.items()
    }


def _spread(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some of the lines, from all over: those whose row number has the smallest checksums."""
    kept: list[dict[str, Any]] = []
    for line in lines:
        kept.append(line)
        if len(kept) >= 50 * _EXAMPLES:
            kept = _smallest(kept)
    return sorted(_smallest(kept), key=lambda line: line["row"])


def _smallest(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(lines, key=lambda line: zlib.crc32(str(line["row"]).encode()))[:_EXAMPLES]
