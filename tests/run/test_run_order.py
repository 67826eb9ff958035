import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gppo.run.order import permuted_indices


@given(st.integers(0, 200), st.integers(1, 60), st.integers(1, 25), st.integers(0, 5))
def test_any_window_is_cut_from_the_same_endless_sequence(start: int, count: int, size: int, seed: int) -> None:
    whole = permuted_indices(0, start + count, size, [seed])
    assert (permuted_indices(start, count, size, [seed]) == whole[start:]).all()


@given(st.integers(1, 25), st.integers(0, 5))
def test_every_epoch_holds_every_item_once(size: int, seed: int) -> None:
    epochs = permuted_indices(0, 3 * size, size, [seed]).reshape(3, size)
    assert (np.sort(epochs, axis=1) == np.arange(size)).all()


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    first, second = permuted_indices(0, 40, 20, [1]).reshape(2, 20)
    assert (first != second).any()
    assert (first != permuted_indices(0, 20, 20, [2])).any()
