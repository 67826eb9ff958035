"""Random numbers that depend on what is sampled, not on when or beside what.

Each response has a Philox stream (a counter-based generator) keyed by (run seed, step, problem, sample); position t of
the response uses the stream's t-th number. How rows are batched, or which rows finished earlier, changes nothing.
"""

import hashlib
from typing import Any

import numpy as np


def stream_key(seed: int, step: int, problem_id: str, sample: int) -> np.ndarray:
    """The key of one response's stream, uint64 [2]."""
    said = f"{seed}\x1f{step}\x1f{sample}\x1f{problem_id}".encode()
    return np.frombuffer(hashlib.blake2b(said, digest_size=16).digest(), dtype=np.uint64)


class Uniforms:
    """One stream a slot, read in blocks so that a token costs no Python work for each row.

    Args:
        slots: how many.
        block: positions drawn at a time.
    """

    def __init__(self, slots: int, block: int = 64) -> None:
        # One generator is moved from stream to stream: to make one takes far longer.
        self._philox = np.random.Philox(0)
        self._generator = np.random.Generator(self._philox)
        self._state: dict[str, Any] = {**self._philox.state, "buffer_pos": 4}  # nothing is left of the last four
        self._keys_S2 = np.zeros((slots, 2), dtype=np.uint64)
        self._read_S = np.zeros(slots, dtype=np.int64)
        self._drawn_St = np.zeros((slots, block))
        self._next_S = np.zeros(slots, dtype=np.int64)

    def put(self, slot: int, key: np.ndarray) -> None:
        """Give the slot a stream, from its first number on."""
        self._keys_S2[slot] = key
        self._read_S[slot] = self._next_S[slot] = 0
        self._drawn_St[slot] = self._further(slot, self._drawn_St.shape[1])

    def take(self, slots: np.ndarray, count: int) -> np.ndarray:
        """The next numbers of each slot, float64 in [0, 1), [len(slots), count]; count is at most the block."""
        block = self._drawn_St.shape[1]
        for slot in slots[self._next_S[slots] + count > block]:
            used = self._next_S[slot]
            self._drawn_St[slot] = np.concatenate([self._drawn_St[slot, used:], self._further(slot, used)])
            self._next_S[slot] = 0
        first_B1 = self._next_S[slots][:, None]
        self._next_S[slots] += count
        return self._drawn_St[slots[:, None], first_B1 + np.arange(count)]

    def keep(self, order: np.ndarray) -> None:
        """Go on with these slots, as slots 0, 1, ..."""
        for values in (self._keys_S2, self._read_S, self._drawn_St, self._next_S):
            values[: len(order)] = values[order]

    def _further(self, slot: int, count: int) -> np.ndarray:
        """The numbers of the slot's stream that come after those read so far."""
        fours, more = divmod(int(self._read_S[slot]), 4)  # one step of the counter gives four numbers
        self._state["state"] = {"counter": np.array([fours, 0, 0, 0], dtype=np.uint64), "key": self._keys_S2[slot]}
        self._philox.state = self._state  # type: ignore[assignment]
        self._read_S[slot] += count
        return self._generator.random(more + count)[more:]
