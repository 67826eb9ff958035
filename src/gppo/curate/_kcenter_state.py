"""What K-Center-Greedy needs to go on where it was killed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gppo.types.files import atomic_file


@dataclass(frozen=True, slots=True)
class State:
    """A search between two rounds.

    Args:
        chosen_K: int64, centres in the order of choice.
        squared_K: float64, squared distance of each to the earlier ones.
        squared_N: float64, every point's squared distance to its nearest centre.
        wanted: how many of the farthest points the next round looks at.
    """

    chosen_K: np.ndarray
    squared_K: np.ndarray
    squared_N: np.ndarray
    wanted: int


def key_of(points_ND: np.ndarray, first: int) -> str:
    """Names the points and the first centre; 0.3 s for 300 MB."""
    return hashlib.blake2b(points_ND.data, digest_size=16).hexdigest() + f" {points_ND.shape} {first}"


def save(path: Path, key: str, state: State) -> None:
    """Write the state, whole or not at all."""
    with atomic_file(path) as file:
        np.savez(
            file,
            key=key,
            chosen_K=state.chosen_K,
            squared_K=state.squared_K,
            squared_N=state.squared_N,
            wanted=state.wanted,
        )


def load(path: Path, key: str) -> State | None:
    """The state that was saved for this key, None where there is none."""
    if not path.is_file():
        return None
    with np.load(path, allow_pickle=False) as found:
        if str(found["key"]) != key:
            return None
        return State(found["chosen_K"], found["squared_K"], found["squared_N"], int(found["wanted"]))
