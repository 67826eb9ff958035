"""MinHash signatures of word n-grams and the bands that near-duplicates share.

Two sets with Jaccard similarity s agree in one minimum of a random order with probability s, so in all r minima of a
band with s^r, and in at least one of b bands with 1 - (1 - s^r)^b (Broder 1997; Leskovec, Rajaraman and Ullman, "Mining
of Massive Datasets", section 3.4). Whoever shares a band is only a candidate: the caller compares the sets themselves.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

_ORDERS = 128
_RECALL = 0.995
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_MOST_WORDS = 1_000_000  # of the dictionary; it is begun anew when it is full


class Shingles:
    """Word n-grams as 64-bit hashes: two different ones have the same with probability 5e-20.

    Args:
        n: words in a row.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._hashes = _WordHashes()

    def of(self, words: Sequence[str]) -> Hashes:
        """The distinct n-grams, sorted; the whole where there are fewer than n words."""
        if len(self._hashes) >= _MOST_WORDS:
            self._hashes.clear()
        known = self._hashes
        hashes = np.array([known[word] for word in words or ("",)], dtype=np.uint64)
        n = min(self._n, len(hashes))
        count = len(hashes) - n + 1
        mixed = hashes[:count].copy()
        for i in range(1, n):
            mixed = mixed * _FACTOR + hashes[i : i + count]
        return np.unique(_scrambled(mixed))


class _WordHashes(dict[str, int]):
    """A hash for each word, made when it is first asked for."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        found = self[word] = int.from_bytes(digest, "little")
        return found


class Bands:
    """Keys of the bands of a signature, as many minima in each as still find 99.5 % of the pairs at the threshold.

    Args:
        threshold: the Jaccard similarity that must be found.
    """

    def __init__(self, threshold: float) -> None:
        rows = [r for r in range(1, _ORDERS + 1) if 1 - (1 - threshold**r) ** (_ORDERS // r) >= _RECALL]
        self.rows = max(rows, default=1)
        self.count = _ORDERS // self.rows
        rng = np.random.default_rng(0)
        shape = self.rows * self.count
        self._a = rng.integers(1 << 63, size=shape, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
        self._b = rng.integers(1 << 63, size=shape, dtype=np.uint64)

    def keys(self, sets: Sequence[Hashes]) -> Hashes:
        """[len(sets), count]: two sets share a column's key where all minima of that band agree."""
        starts = np.cumsum([0, *(len(each) for each in sets[:-1])])
        orders = np.concatenate(sets)[:, None] * self._a + self._b
        minima = np.minimum.reduceat(orders, starts, axis=0).reshape(len(sets), self.count, self.rows)
        key = np.zeros(minima.shape[:2], dtype=np.uint64)
        for i in range(self.rows):
            key = _scrambled(key * _FACTOR + minima[:, :, i])
        return key


def jaccard(one: Hashes, other: Hashes) -> float:
    """Shared share of two sorted sets of distinct values."""
    shared = len(np.intersect1d(one, other, assume_unique=True))
    return shared / (len(one) + len(other) - shared)


def _scrambled(values: Hashes) -> Hashes:
    """Spreads every bit over all (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
