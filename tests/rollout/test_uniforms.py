"""Random numbers belong to (seed, step, problem, sample, position) and to nothing else."""

import numpy as np
import pytest

from gppo.rollout.local.randomness import Uniforms, stream_key


def _numbers(*key, count: int = 10) -> np.ndarray:
    return np.random.Generator(np.random.Philox(key=stream_key(*key))).random(count)


def test_the_same_key_gives_the_same_numbers_for_ever():
    assert np.array_equal(_numbers(1, 2, "p", 3), _numbers(1, 2, "p", 3))
    # Written down: a change here would change every run that is repeated.
    assert _numbers(0, 0, "p", 0, count=3) == pytest.approx([0.41293782, 0.50964943, 0.60801027], abs=1e-8)


@pytest.mark.parametrize("other", [(2, 2, "p", 3), (1, 3, "p", 3), (1, 2, "q", 3), (1, 2, "p", 4), (1, -1, "p", 3)])
def test_every_part_of_the_key_counts(other):
    assert not np.isin(_numbers(1, 2, "p", 3), _numbers(*other)).any()


def test_parts_of_the_key_do_not_run_together():
    keys = [(1, 23, "p", 4), (12, 3, "p", 4), (1, 2, "p", 34), (1, 2, "4p", 3), (1, 2, "p", 3), (1, 2, "", 3)]
    keys += [(1, 2, "3\x1fp", 4), (1, 2, "p\x1f4", 3), (3, 1, "p", 2)]
    firsts = [_numbers(*key)[0] for key in keys]
    assert len(set(firsts)) == len(keys)


def test_numbers_are_uniform():
    values = np.concatenate([_numbers(0, 0, f"problem {i}", 0, count=50) for i in range(400)])
    assert ((values >= 0) & (values < 1)).all()
    counts = np.histogram(values, bins=20, range=(0, 1))[0]
    # Chi-square with 19 degrees of freedom: beyond 43.8 once in a thousand.
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8
    firsts = values.reshape(400, 50)[:, 0]
    assert abs(np.corrcoef(firsts[:-1], firsts[1:])[0, 1]) < 0.15


def _filled(rows: int, block: int) -> Uniforms:
    uniforms = Uniforms(rows, block)
    for i in range(rows):
        uniforms.put(i, stream_key(0, 0, "p", i))
    return uniforms


@pytest.mark.parametrize("block", [3, 4, 64])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_blocks_do_not_show(block, count):
    uniforms = _filled(3, block)
    seen = np.concatenate([uniforms.take(np.arange(3), count) for _ in range(10)], axis=1)
    for i in range(3):
        assert np.array_equal(seen[i], _numbers(0, 0, "p", i, count=10 * count))


@pytest.mark.parametrize("block", [1, 4, 64])
def test_rows_that_stay_go_on_where_they_were(block):
    uniforms = _filled(4, block)
    for _ in range(3):
        uniforms.take(np.arange(4), 1)
    uniforms.keep(np.array([3, 1]))
    for t in range(3, 6):
        expected = [_numbers(0, 0, "p", 3)[t], _numbers(0, 0, "p", 1)[t]]
        assert uniforms.take(np.arange(2), 1)[:, 0].tolist() == expected
    uniforms.keep(np.array([1]))
    for t in range(6, 10):
        assert uniforms.take(np.arange(1), 1).tolist() == [[_numbers(0, 0, "p", 1)[t]]]


def test_a_slot_that_is_filled_again_starts_from_the_first_number():
    uniforms = _filled(2, 8)
    uniforms.take(np.arange(2), 5)
    uniforms.put(0, stream_key(0, 0, "q", 0))
    taken = uniforms.take(np.array([1, 0]), 6)
    assert np.array_equal(taken[0], _numbers(0, 0, "p", 1, count=11)[5:])
    assert np.array_equal(taken[1], _numbers(0, 0, "q", 0, count=6))
