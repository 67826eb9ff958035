"""What the host knows of the rows under way: which response sits in which slot, what it said, and when it ends."""

from dataclasses import dataclass

import numpy as np

from gppo.rollout.local.randomness import Uniforms


@dataclass(frozen=True, slots=True)
class Row:
    """A response to be sampled.

    Args:
        request: which of the requests.
        sample: which of its samples, as a position.
        prompt_tokens: the length of its prompt.
        limit: its longest length.
    """

    request: int
    sample: int
    prompt_tokens: int
    limit: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A response that has ended.

    Args:
        row: which.
        ids_T: int64, its tokens.
        logprobs_T: float32, theirs.
        stopped: whether the last one is a stop token.
    """

    row: Row
    ids_T: np.ndarray
    logprobs_T: np.ndarray
    stopped: bool


class Slots:
    """Rows in slots 0 .. ``count`` - 1.

    Args:
        size: slots at most.
        stops_V: bool, which tokens end a response.
    """

    def __init__(self, size: int, stops_V: np.ndarray) -> None:
        self.size = size
        self.stops_V = stops_V
        self.rows: list[Row] = []
        self.uniforms = Uniforms(size)
        self._said_S = np.zeros(size, dtype=np.int64)
        self._alive_S = np.zeros(size, dtype=bool)
        self._prompt_S = np.zeros(size, dtype=np.int64)
        self._limit_S = np.zeros(size, dtype=np.int64)
        self._ids_ST = np.zeros((size, 64), dtype=np.int64)
        self._logprobs_ST = np.zeros((size, 64), dtype=np.float32)

    @property
    def count(self) -> int:
        """Slots in use, those of finished rows included."""
        return len(self.rows)

    @property
    def alive(self) -> int:
        """Rows that go on."""
        return int(self._alive_S[: self.count].sum())

    @property
    def free(self) -> np.ndarray:
        """Slots that a row can be put into, those of finished rows first."""
        return np.concatenate([np.flatnonzero(~self._alive_S[: self.count]), np.arange(self.count, self.size)])

    @property
    def remaining(self) -> int:
        """Tokens that the row with the most to go may still say."""
        used = slice(0, self.count)
        left_B = np.where(self._alive_S[used], self._limit_S[used] - self._said_S[used], 0)
        return int(left_B.max())

    def place(self, slots: np.ndarray, rows: list[Row]) -> None:
        """Put new rows into these slots; slots beyond ``count`` come in order."""
        for slot, row in zip(slots, rows, strict=True):
            if slot == self.count:
                self.rows.append(row)
            else:
                self.rows[slot] = row
        self._said_S[slots] = 0
        self._alive_S[slots] = True
        self._prompt_S[slots] = [row.prompt_tokens for row in rows]
        self._limit_S[slots] = [row.limit for row in rows]

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """The last token of each slot [B], and its position [B]."""
        used = np.arange(self.count)
        said_B = self._said_S[used]
        return self._ids_ST[used, said_B - 1], self._prompt_S[used] + said_B - 1

    def record(self, slots: np.ndarray, ids_BK: np.ndarray, logprobs_BK: np.ndarray) -> list[Ended]:
        """Append K tokens to the rows of these slots; what a row says after its end is not kept.

        Returns:
            the rows that ended, in the order of ending.
        """
        count = ids_BK.shape[1]
        said_B = self._said_S[slots]
        self._reserve(int(said_B.max()) + count)
        at_BK = said_B[:, None] + np.arange(count)
        self._ids_ST[slots[:, None], at_BK] = ids_BK
        self._logprobs_ST[slots[:, None], at_BK] = logprobs_BK
        self._said_S[slots] += count * self._alive_S[slots]  # finished rows are carried along where they are
        stop_BK = self.stops_V[ids_BK]
        ends_BK = (stop_BK | (at_BK + 1 >= self._limit_S[slots][:, None])) & self._alive_S[slots][:, None]
        if not ends_BK.any():
            return []
        ending = np.flatnonzero(ends_BK.any(1))
        last = ends_BK[ending].argmax(1)
        order = np.argsort(last, kind="stable")
        ending, last = ending[order], last[order]
        self._alive_S[slots[ending]] = False
        ended = []
        # As Python's own numbers, which index faster than NumPy's.
        of_each = slots[ending].tolist(), (said_B[ending] + last + 1).tolist(), stop_BK[ending, last].tolist()
        for slot, length, stopped in zip(*of_each, strict=True):
            said = self._ids_ST[slot, :length].copy(), self._logprobs_ST[slot, :length].copy()
            ended.append(Ended(self.rows[slot], *said, stopped))
        return ended

    def close_up(self) -> np.ndarray:
        """Let finished rows leave; living ones from the end take their slots. Returns for each slot where it was."""
        alive_B = self._alive_S[: self.count]
        kept = int(alive_B.sum())
        order = np.arange(kept)
        order[~alive_B[:kept]] = kept + np.flatnonzero(alive_B[kept:])
        self.rows = [self.rows[slot] for slot in order]
        self.uniforms.keep(order)
        for values in (self._said_S, self._alive_S, self._prompt_S, self._limit_S, self._ids_ST, self._logprobs_ST):
            values[:kept] = values[order]
        self._alive_S[kept:] = False
        return order

    def _reserve(self, tokens: int) -> None:
        more = max(tokens - self._ids_ST.shape[1], 0)
        if more:
            wider = ((0, 0), (0, more + self._ids_ST.shape[1]))
            self._ids_ST, self._logprobs_ST = np.pad(self._ids_ST, wider), np.pad(self._logprobs_ST, wider)
