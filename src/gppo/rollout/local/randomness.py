"""Random numbers that depend on what is sampled, not on when or beside what.

Each response has a Philox stream (a counter-based generator) keyed by (run seed, step, problem, sample); position t of
the response uses the stream's t-th number. How rows are batched, or which rows finished earlier, changes nothing.
"""

import hashlib

import numpy as np


def uniform_stream(seed: int, step: int, problem_id: str, sample: int) -> np.random.Generator:
    """The uniforms of one response, one a token, in order."""
    key = hashlib.blake2b(f"{seed}\x1f{step}\x1f{sample}\x1f{problem_id}".encode(), digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key, dtype=np.uint64)))


class Uniforms:
    """One stream a slot, read in blocks so that a token costs no Python work for each row.

    Args:
        slots: how many.
        block: positions drawn at a time.
    """

    def __init__(self, slots: int, block: int = 64) -> None:
        self._streams: list[np.random.Generator | None] = [None] * slots
        self._drawn_St = np.zeros((slots, block))
        self._next_S = np.zeros(slots, dtype=np.int64)

    def put(self, slot: int, stream: np.random.Generator) -> None:
        """Give the slot a stream, from its first number on."""
        self._streams[slot] = stream
        self._drawn_St[slot] = stream.random(self._drawn_St.shape[1])
        self._next_S[slot] = 0

    def take(self, slots: np.ndarray, count: int) -> np.ndarray:
        """The next numbers of each slot, float64 in [0, 1), [len(slots), count]; count is at most the block."""
        block = self._drawn_St.shape[1]
        for slot in slots[self._next_S[slots] + count > block]:
            used, stream = self._next_S[slot], self._streams[slot]
            assert stream is not None
            self._drawn_St[slot] = np.concatenate([self._drawn_St[slot, used:], stream.random(used)])
            self._next_S[slot] = 0
        first_B1 = self._next_S[slots][:, None]
        self._next_S[slots] += count
        return self._drawn_St[slots[:, None], first_B1 + np.arange(count)]

    def keep(self, order: np.ndarray) -> None:
        """Go on with these slots, as slots 0, 1, ..."""
        kept = len(order)
        self._streams[:kept] = [self._streams[slot] for slot in order]
        self._drawn_St[:kept] = self._drawn_St[order]
        self._next_S[:kept] = self._next_S[order]
