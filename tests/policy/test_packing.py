import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.sizes import micro_batches, pack_masked, pack_responses, packed_micro_batches


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


def ids(*tokens: int) -> np.ndarray:
    return np.array(tokens, dtype=np.int64)


def test_a_pack_by_hand():
    # Rows 0 and 3 share a prompt; row 2 has the prompt of row 4, but one token; row 1 is by itself.
    prompts = [ids(1, 2), ids(3), ids(4, 5), ids(1, 2), ids(4, 5)]
    responses = [ids(10, 11, 12), ids(20, 21), ids(30), ids(40, 41), ids(50, 51, 52)]
    pack = pack_responses(prompts, responses)
    #                             0  1  2  3   4  5  6   7   8   9   10
    assert pack.ids_L.tolist() == [1, 2, 3, 20, 4, 5, 50, 51, 10, 11, 40]
    assert pack.positions_L.tolist() == [0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2]
    assert pack.targets_N.tolist() == [10, 11, 12, 20, 21, 30, 40, 41, 50, 51, 52]
    assert pack.predicts_N.tolist() == [1, 8, 9, 2, 3, 5, 1, 10, 5, 6, 7]
    assert pack.trunk_lengths.tolist() == [2, 2, 4]
    assert pack.branches_of.tolist() == [2, 0, 0]
    assert pack.branch_lengths.tolist() == [2, 1]


def test_a_pack_of_masked_rows_by_hand():
    rows = [ids(1, 2, 3, 4), ids(5), ids(6, 7, 8)]
    masks = [np.array([True, False, True, False]), np.array([True]), np.array([False, True, True])]
    pack = pack_masked(rows, masks)
    # Of the first row two tokens tell the third; the second has no target and keeps one token.
    assert pack.ids_L.tolist() == [1, 2, 5, 6, 7]
    assert pack.positions_L.tolist() == [0, 1, 0, 0, 1]
    assert pack.targets_N.tolist() == [3, 7, 8]
    assert pack.predicts_N.tolist() == [1, 3, 4]


rows_of_groups = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=5), min_size=1, max_size=5)


@given(rows_of_groups, st.integers(0, 9))
def test_every_predicting_token_ends_its_own_row(groups, seed):
    """Read back from segments and positions, the tokens before each target are the row's."""
    rng = np.random.default_rng(seed)
    prompts, responses = [], []
    for number, lengths in enumerate(groups):
        prompt = np.concatenate([[1000 + number], rng.integers(100, size=rng.integers(0, 4))])
        prompts += [prompt] * len(lengths)
        responses += [rng.integers(100, size=length) for length in lengths]
    order = rng.permutation(len(prompts))
    prompts, responses = [prompts[i] for i in order], [responses[i] for i in order]
    pack = pack_responses(prompts, responses)
    lengths = np.concatenate([pack.trunk_lengths, pack.branch_lengths])
    assert lengths.sum() == len(pack.ids_L) == len(pack.positions_L)
    shared = {prompt.tobytes(): len(prompt) for prompt in prompts}
    assert len(pack.ids_L) == sum(shared.values()) + sum(len(response) - 1 for response in responses)
    starts = np.cumsum(lengths) - lengths
    trunk_of = [None] * len(pack.trunk_lengths) + np.repeat(np.arange(len(pack.branches_of)), pack.branches_of).tolist()
    place = iter(zip(pack.predicts_N, pack.targets_N, strict=True))
    for prompt, response in zip(prompts, responses, strict=True):
        for t, token in enumerate(response):
            at, target = next(place)
            segment = int(np.searchsorted(starts, at, side="right")) - 1
            seen = pack.ids_L[starts[segment] : at + 1]
            if (trunk := trunk_of[segment]) is not None:
                seen = np.concatenate([pack.ids_L[starts[trunk] :][: lengths[trunk]], seen])
            assert seen.tolist() == [*prompt, *response[:t]]
            assert pack.positions_L[at] == len(seen) - 1
            assert target == token


@given(rows_of_groups, st.integers(1, 60))
def test_packed_micro_batches_hold_every_row_once_within_the_budget(groups, budget):
    prompts = [np.full(number + 1, number) for number, lengths in enumerate(groups) for _ in lengths]
    lengths_B = np.array([length for lengths in groups for length in lengths])
    parts = packed_micro_batches(prompts, lengths_B, budget)
    assert sorted(int(i) for part in parts for i in part) == list(range(len(lengths_B)))
    for part in parts:
        tokens = len(pack_responses([prompts[i] for i in part], [np.zeros(lengths_B[i]) for i in part]).ids_L)
        assert tokens <= budget or len(part) == 1


def test_packed_micro_batches_by_hand():
    a, b, c = ids(1, 1, 1), ids(2), ids(3, 3)
    prompts, lengths = [a, b, a, c, b, a], np.array([5, 3, 2, 1, 4, 5])
    # a: 3 + 4 + 4 + 1 = 12, b: 1 + 3 + 2 = 6, c: 2
    assert [part.tolist() for part in packed_micro_batches(prompts, lengths, 100)] == [[0, 5, 2, 4, 1, 3]]
    assert [part.tolist() for part in packed_micro_batches(prompts, lengths, 12)] == [[0, 5, 2], [4, 1, 3]]
    # a is cut into 3 + 4 + 4 and 3 + 1; then b, the second piece of a, c.
    cut = packed_micro_batches(prompts, lengths, 11)
    assert [part.tolist() for part in cut] == [[0, 5], [4, 1, 2], [3]]


@pytest.mark.parametrize("budget", [1, 10])
def test_no_rows_make_no_micro_batches(budget):
    assert packed_micro_batches([], np.array([], dtype=np.int64), budget) == []
