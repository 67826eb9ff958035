import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gppo.policy import micro_batches


@given(st.lists(st.integers(1, 50), max_size=40), st.integers(1, 200))
def test_every_row_once_within_the_budget(lengths, budget):
    lengths_B = np.array(lengths, dtype=np.int64)
    parts = micro_batches(lengths_B, budget)
    assert sorted(int(i) for part in parts for i in part) == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * lengths_B[part].max() <= budget


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 200))
def test_the_longest_come_first_and_no_part_could_have_taken_the_next_row(lengths, budget):
    lengths_B = np.array(lengths, dtype=np.int64)
    parts = micro_batches(lengths_B, budget)
    order = [lengths_B[i] for part in parts for i in part]
    assert order == sorted(order, reverse=True)
    for part in parts[:-1]:
        assert (len(part) + 1) * lengths_B[part].max() > budget


def test_by_hand():
    # Longest first: 9 | 4 + 4 (8 <= 10) | 3 + 2 + 1 (9 <= 10)
    parts = micro_batches(np.array([3, 9, 4, 1, 4, 2]), 10)
    assert [part.tolist() for part in parts] == [[1], [2, 4], [0, 5, 3]]
    assert micro_batches(np.array([], dtype=np.int64), 10) == []
    assert [part.tolist() for part in micro_batches(np.array([30, 20]), 10)] == [[0], [1]]
