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
    """One stream a row, read in blocks so that a token costs no Python work for each row.

    Args:
        streams: one a row.
        block: positions drawn at a time.
    """

    def __init__(self, streams: list[np.random.Generator], block: int = 64) -> None:
        self._streams = streams
        self._block = block
        self._drawn_Bt = np.empty((len(streams), 0))
        self._next = 0

    def next_B(self) -> np.ndarray:
        """The next number of every row, float64 in [0, 1)."""
        if self._next == self._drawn_Bt.shape[1]:
            self._drawn_Bt = np.stack([stream.random(self._block) for stream in self._streams])
            self._next = 0
        self._next += 1
        return self._drawn_Bt[:, self._next - 1]

    def keep(self, rows: np.ndarray) -> None:
        """Go on with these rows only."""
        self._streams = [self._streams[i] for i in rows]
        self._drawn_Bt = self._drawn_Bt[rows]
