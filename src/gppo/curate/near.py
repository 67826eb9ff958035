"""Near-duplicates: questions that share most of their word n-grams with an earlier one."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gppo.config import NearDedupConfig
from gppo.curate.dedup import asked, question_key
from gppo.curate.minhash import Bands, Hashes, Shingles, jaccard
from gppo.curate.normalise import normal_form, words
from gppo.curate.step import Bench, Item, Items, Removed

_AT_ONCE = 512


@dataclass(frozen=True, slots=True)
class NearDedup:
    """Of questions with a Jaccard similarity of at least the threshold, the first stays.

    Candidates come from MinHash and are compared by their whole sets of n-grams, so nothing is removed that is less
    alike than the threshold. Several responses to one and the same question stay together: they go where their question
    is near another one.

    Memory is 8 bytes for each band of each distinct question (21 bands at 0.8), and the n-grams of candidates.
    """

    config: NearDedupConfig

    passes = 2

    @property
    def title(self) -> str:
        """How the funnel names it."""
        return f"near-duplicates, {self.config.threshold:g} of {self.config.ngram}-grams"

    def changes(self, items: Items, bench: Bench) -> Iterator[Removed]:
        """The rows whose question is like an earlier one that stays."""
        together = bench.kind == "conversations"
        groups = _Groups(self._keys(items, together))
        shingles = Shingles(self.config.ngram)
        verdicts: dict[bytes, tuple[float, Item] | None] = {}
        for number, item in _questions(items, together):
            if number is None:
                like = verdicts.get(_key(item))
            else:
                like = groups.first_like(number, item, shingles, self.config.threshold)
                if together:
                    verdicts[_key(item)] = like
            if like is not None:
                similarity, other = like
                reason = (
                    f"shares {similarity:.0%} of its {self.config.ngram}-grams with {other.record.id} of {other.source}"
                )
                met = {"source": other.source, "id": other.record.id, "similarity": round(similarity, 4)}
                yield Removed(item, "near duplicate", reason, met)

    def _keys(self, items: Items, together: bool) -> Hashes:
        """Band keys of every question, [questions, bands]."""
        shingles, bands = Shingles(self.config.ngram), Bands(self.config.threshold)
        found: list[Hashes] = [np.empty((0, bands.count), dtype=np.uint64)]
        waiting: list[Hashes] = []
        for number, item in _questions(items, together):
            if number is not None:
                waiting.append(shingles.of(_words(item)))
            if len(waiting) == _AT_ONCE:
                found.append(bands.keys(waiting))
                waiting = []
        if waiting:
            found.append(bands.keys(waiting))
        return np.concatenate(found)


class _Groups:
    """Questions that share a band, and those of them that stay."""

    def __init__(self, keys: Hashes) -> None:
        self._groups: list[list[int]] = [[] for _ in range(len(keys))]
        self._kept: dict[int, list[tuple[Hashes, Item]]] = {}
        total = 0
        for band in range(keys.shape[1]):
            _, group, size = np.unique(keys[:, band], return_inverse=True, return_counts=True)
            for number in np.flatnonzero(size[group] > 1):
                self._groups[number].append(total + int(group[number]))
            total += len(size)

    def first_like(self, number: int, item: Item, shingles: Shingles, threshold: float) -> tuple[float, Item] | None:
        """The similarity and the earliest question that stays and is like this one; else this one stays."""
        mine = self._groups[number]
        if not mine:
            return None
        grams = shingles.of(_words(item))
        candidates = {other.row: (set_, other) for group in mine for set_, other in self._kept.get(group, ())}
        for _, (set_, other) in sorted(candidates.items(), key=lambda pair: pair[0]):
            similarity = jaccard(grams, set_)
            if similarity >= threshold:
                return similarity, other
        for group in mine:
            self._kept.setdefault(group, []).append((grams, item))
        return None


def _questions(items: Items, together: bool) -> Iterator[tuple[int | None, Item]]:
    """Each item with the number of its question; None where that question came before and rows stay together."""
    seen: set[bytes] = set()
    number = 0
    for item in items:
        if together:
            key = _key(item)
            if key in seen:
                yield None, item
                continue
            seen.add(key)
        yield number, item
        number += 1


def _key(item: Item) -> bytes:
    return question_key(asked(item.record))


def _words(item: Item) -> list[str]:
    text = asked(item.record)
    return words(text) or [normal_form(text)]
