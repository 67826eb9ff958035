"""How an optimizer step's rows are shared out to ranks."""

from functools import partial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gppo.sizes import micro_batches, packed_micro_batches, shared_passes

LENGTHS = st.lists(st.integers(1, 60), max_size=24)


def tokens(parts, lengths):
    return [sum(lengths[i] for i in part) for part in parts]


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 200), st.integers(2, 5))
def test_every_row_is_in_one_pass_and_no_pass_is_above_the_budget(lengths, budget, ranks):
    none = [np.array([], dtype=np.int64)] * len(lengths)
    # A pack needs one token less than a row has: nothing is predicted from the last.
    cut = partial(packed_micro_batches, none, np.array(lengths, dtype=np.int64))
    rounds = shared_passes(cut, budget, ranks)
    assert all(len(one_each) == ranks for one_each in rounds)
    assert sorted(i for one_each in rounds for part in one_each for i in part) == list(range(len(lengths)))
    for one_each in rounds:
        for part in one_each:
            assert len(part) < 2 or sum(lengths[i] - 1 for i in part) <= budget
    assert len(rounds) == -(-len(cut(budget)) // ranks)  # as few as without evening out


def test_rows_that_fit_into_one_pass_are_spread_evenly():
    lengths = [8, 8, 4, 4, 4, 4]
    [passes] = shared_passes(partial(micro_batches, np.array(lengths)), 10_000, 2)
    assert sorted(tokens(passes, lengths)) == [16, 16]


def test_the_responses_of_a_prompt_stay_together_where_that_is_even():
    prompts = [np.full(5, group) for group in range(4) for _ in range(3)]
    [passes] = shared_passes(partial(packed_micro_batches, prompts, np.full(12, 7)), 10_000, 2)
    groups = [{int(i) // 3 for i in part} for part in passes]
    assert sorted(map(len, groups)) == [2, 2]
    assert not groups[0] & groups[1]


def test_more_ranks_than_rows_leave_some_idle():
    [passes] = shared_passes(partial(micro_batches, np.array([3, 5])), 100, 4)
    assert sorted(map(len, passes)) == [0, 0, 1, 1]


def test_no_rows_are_no_pass():
    assert shared_passes(partial(micro_batches, np.array([], dtype=np.int64)), 100, 4) == []
