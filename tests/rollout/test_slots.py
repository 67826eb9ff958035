"""Who sits where: nothing is lost or mixed up when rows end, leave and make room."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gppo.rollout.local.randomness import stream_key
from gppo.rollout.local.slots import Row, Slots

STOP = 9


def _slots(limits: list[int], size: int | None = None) -> Slots:
    slots = Slots(size or len(limits), np.arange(12) == STOP)
    slots.place(np.arange(len(limits)), [Row(i, 0, 10 + i, limit) for i, limit in enumerate(limits)])
    for i in range(len(limits)):
        slots.uniforms.put(i, stream_key(0, 0, "p", i))
    return slots


def _stream(key: np.ndarray, count: int) -> np.ndarray:
    """The first numbers of a stream, by a generator of its own."""
    return np.random.Generator(np.random.Philox(key=key)).random(count)


def _say(slots: Slots, ids: list[list[int]]):
    """Every slot in use says these; the logprob of token v is -v."""
    ids_BK = np.array(ids)
    return slots.record(np.arange(slots.count), ids_BK, -ids_BK.astype(np.float32))


def test_the_first_of_stop_and_limit_ends_a_row_and_what_follows_is_not_kept():
    slots = _slots([3, 10, 10, 2])
    ended = _say(slots, [[1, 2, 3, 4], [5, STOP, STOP, 1], [1, 1, 1, 1], [6, STOP, 7, 8]])
    assert [(e.row.request, e.ids_T.tolist(), e.stopped) for e in ended] == [
        (1, [5, STOP], True),
        (3, [6, STOP], True),  # a stop at the limit is a stop
        (0, [1, 2, 3], False),
    ]
    assert ended[2].logprobs_T.tolist() == [-1, -2, -3]
    assert slots.alive == 1
    assert slots.remaining == 6
    # Finished rows say nothing more, and end once.
    assert _say(slots, [[STOP]] * 4)[0].row.request == 2
    assert slots.alive == 0


def test_state_is_the_last_token_and_its_position():
    slots = _slots([9, 9])
    _say(slots, [[1], [2]])
    assert [a.tolist() for a in slots.state()] == [[1, 2], [10, 11]]
    _say(slots, [[3, 4], [5, 6]])
    assert [a.tolist() for a in slots.state()] == [[4, 6], [12, 13]]


def test_freed_slots_come_first():
    slots = _slots([9, 1, 9], size=5)
    _say(slots, [[1], [1], [1]])
    assert slots.free.tolist() == [1, 3, 4]
    slots.place(np.array([1, 3]), [Row(7, 0, 20, 9), Row(8, 0, 30, 9)])
    assert [row.request for row in slots.rows] == [0, 7, 2, 8]
    assert slots.record(np.array([1, 3]), np.array([[4], [STOP]]), np.zeros((2, 1), np.float32))[0].row.request == 8
    assert [a.tolist() for a in slots.state()] == [[1, 4, 1, STOP], [10, 20, 12, 30]]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 5), st.booleans())
def test_every_row_says_what_it_says_alone(limits, count, close):
    """Row r's token t is a function of both; stops come from it too. However slots close up, each row gets its own."""

    def token(row: int, t: int) -> int:
        return (7 * row + 3 * t + row * t) % 12

    slots, seen = _slots(limits), {}
    while slots.alive:
        said = [slots.state()[1][i] - row.prompt_tokens + 1 for i, row in enumerate(slots.rows)]
        if not seen and not said[0]:
            said = [0] * slots.count
        ids = [[token(row.request, said[i] + k) for k in range(count)] for i, row in enumerate(slots.rows)]
        for ended in _say(slots, ids):
            assert ended.row.request not in seen
            seen[ended.row.request] = ended
        if close:
            before = [row.request for row in slots.rows]
            order = slots.close_up()
            assert [row.request for row in slots.rows] == [before[slot] for slot in order]
            assert slots.count == slots.alive
            for i, row in enumerate(slots.rows):
                drawn = slots.uniforms.take(np.array([i]), 1)
                assert drawn in _stream(stream_key(0, 0, "p", row.request), 4 * max(limits))
    for row, limit in enumerate(limits):
        whole = [token(row, t) for t in range(limit)]
        expected = whole[: whole.index(STOP) + 1] if STOP in whole else whole
        assert seen[row].ids_T.tolist() == expected
        assert seen[row].logprobs_T.tolist() == [-v for v in expected]
        assert seen[row].stopped == (expected[-1] == STOP)
