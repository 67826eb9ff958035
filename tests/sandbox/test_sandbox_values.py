import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.sandbox.inside import values
from gppo.sandbox.inside.values import ValueRefusedError, decode, encode

_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(5, 9).map(lambda n: n**5000)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=()))
    | st.binary()
    | st.complex_numbers(allow_nan=False)
)
_KEYS = st.integers() | st.text() | st.tuples(st.integers(), st.text())
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(_KEYS, inner)
        | st.lists(inner).map(tuple)
        | st.sets(_KEYS)
        | st.frozensets(_KEYS)
    ),
    max_leaves=20,
)


@given(_VALUES)
def test_plain_values_come_back_with_their_types(value):
    back = decode(encode(value))
    assert back == value
    assert type(back) is type(value)


def test_nan_and_infinities_come_back():
    back = decode(encode([math.nan, math.inf, -math.inf]))
    assert math.isnan(back[0])
    assert back[1:] == [math.inf, -math.inf]


def test_subclasses_lose_what_they_override():
    class Everything(int):
        def __eq__(self, other):
            return True

        __hash__ = int.__hash__

    back = decode(encode([Everything(3)]))
    assert type(back[0]) is int
    assert back != [4]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[1",
        b"{}",
        b'{"t": [1], "s": []}',
        b'{"x": "zz"}',
        b'{"x": "' + b"f" * 200_000 + b'"}',
        b'{"s": [[1]]}',
        b'{"d": [1]}',
        b'{"d": [[1, 2, 3]]}',
        b'{"c": ["a"]}',
        b'{"__reduce__": []}',
        b"9" * 5000,
        b"\xff",
        b"[" * 100_000,
        b"[" * 700 + b"]" * 700,
        b'["' + b"\\" * 3 + b'"',
    ],
)
def test_what_is_not_of_the_format_is_refused(text):
    with pytest.raises(ValueRefusedError):
        decode(text)


def test_many_keys_that_could_collide_are_refused():
    colliding = ", ".join(str(i * (2**61 - 1)) for i in range(1, 6001))
    with pytest.raises(ValueRefusedError, match="collide"):
        decode(f'{{"s": [{colliding}]}}'.encode())


def test_many_ordinary_keys_are_fine():
    value = {i: str(i) for i in range(50_000)}
    assert decode(encode(value)) == value


@pytest.mark.parametrize(
    "value", [object(), lambda: 0, range(3), iter([]), 1 << values.MAX_INT_BITS], ids=lambda v: type(v).__name__
)
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(ValueRefusedError):
        encode([value])


def test_depth_is_bounded_and_strings_do_not_count():
    value: object = 0
    for _ in range(values.MAX_DEPTH):
        value = (value,)
    assert decode(encode(value)) == value
    with pytest.raises(ValueRefusedError):
        encode([value])
    brackets = ['"[' * 5000]
    assert decode(encode(brackets)) == brackets
