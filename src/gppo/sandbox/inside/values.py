"""Plain values as tagged JSON: the only thing that crosses between a program and anyone who judges it.

Reading trusts nothing: there is no pickle and no eval, and size, depth, digits and hash collisions are bounded, so
that a
hostile text costs its reader a bounded time. JSON's own None, bool, int, float, str and list stand for themselves; all
else
is an object with one tag: ``{"t": [...]}`` tuple, ``{"d": [[key, value], ...]}`` dict, ``{"s": [...]}`` set, ``{"f":
[...]}``
frozenset, ``{"b": hex}`` bytes, ``{"c": [re, im]}`` complex, ``{"x": hex}`` an int of many digits.
"""

import json
import re
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from typing import Any

MAX_DEPTH = 200
MAX_INT_BITS = 400_000
_SHORT_INT_BITS = 4096  # more would come near the interpreter's limit on decimal digits
_SAFE_INT = 1 << 60  # smaller ints hash to themselves: no collisions can be made from them
_MAX_ODD_KEYS = 5_000
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NO_BRACKET = bytes(byte for byte in range(256) if byte not in b"[]{}")

Encoder = Callable[[Any], Any]


class ValueRefusedError(Exception):
    """A value is not plain, or is larger or deeper than what may cross."""


def encode(value: Any, other: Encoder | None = None) -> bytes:
    """Write ``value`` as text; ``other`` turns what is not plain into an object with a tag of its own, or raises."""
    return json.dumps(tagged(value, other)).encode("ascii")


def tagged(value: Any, other: Encoder | None = None) -> Any:
    """``value`` as JSON's own kinds and tagged objects; what an ``other`` returns for a container it has unpacked."""
    return _tagged(value, 0, other)


def _tagged(value: Any, depth: int, other: Encoder | None) -> Any:
    if depth > MAX_DEPTH:
        raise ValueRefusedError("the value is nested too deeply")
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return _tagged_int(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (list, deque)):
        return [_tagged(item, depth + 1, other) for item in value]
    if isinstance(value, dict):
        pairs = [[_tagged(k, depth + 1, other), _tagged(v, depth + 1, other)] for k, v in dict.items(value)]
        return {"d": pairs}
    for kind, tag in ((tuple, "t"), (set, "s"), (frozenset, "f")):
        if isinstance(value, kind):
            return {tag: [_tagged(item, depth + 1, other) for item in value]}
    if isinstance(value, (bytes, bytearray)):
        return {"b": bytes(value).hex()}
    if isinstance(value, complex):
        return {"c": [value.real, value.imag]}
    if other is not None:
        return other(value)
    raise ValueRefusedError(f"a {type(value).__name__} is not a plain value")


def _tagged_int(value: int) -> Any:
    bits = value.bit_length()
    if bits > MAX_INT_BITS:
        raise ValueRefusedError("an int has too many digits")
    return value if bits <= _SHORT_INT_BITS else {"x": f"{value:x}"}


def decode(text: bytes, other: Callable[[str, Any], Any] | None = None) -> Any:
    """Read what :func:`encode` wrote; ``other(tag, body)`` reads tags of its own.

    Raises:
        ValueRefusedError: the text is not of this format, or it is past one of the caps.
    """
    odd_keys = 0

    def hashed(items: list[Any]) -> list[Any]:
        nonlocal odd_keys
        odd_keys += sum(not _cheap_key(item) for item in items)
        if odd_keys > _MAX_ODD_KEYS:
            raise ValueRefusedError("too many keys of a kind whose hashes could be made to collide")
        return items

    def read(pairs: list[tuple[str, Any]]) -> Any:
        if len(pairs) != 1:
            raise ValueRefusedError("a tagged value has exactly one tag")
        tag, body = pairs[0]
        if tag == "x" and isinstance(body, str) and len(body) <= MAX_INT_BITS // 4 + 2:
            return int(body, 16)
        if tag == "b" and isinstance(body, str):
            return bytes.fromhex(body)
        if isinstance(body, list):
            if tag == "t":
                return tuple(body)
            if tag == "d":
                hashed([key for key, _ in body])
                return dict(body)
            if tag == "s":
                return set(hashed(body))
            if tag == "f":
                return frozenset(hashed(body))
            if tag == "c":
                return complex(*body)
        if other is not None:
            return other(tag, body)
        raise ValueRefusedError(f"unknown tag {tag[:20]!r}")

    try:
        _check_depth(text)
        return json.loads(text.decode("ascii"), object_pairs_hook=read)
    except ValueRefusedError:
        raise
    except (ValueError, TypeError, RecursionError, OverflowError, MemoryError) as error:
        raise ValueRefusedError(f"not a value: {type(error).__name__}") from None


def _cheap_key(key: Any) -> bool:
    kind = type(key)
    return kind is str or kind is float or kind is bool or key is None or (kind is int and -_SAFE_INT < key < _SAFE_INT)


def _check_depth(text: bytes) -> None:
    """Refuse deep nesting before the scanner recurses. A level costs at most three brackets: object, list, pair."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", text).translate(None, delete=_NO_BRACKET)
    steps = (1 if bracket in b"[{" else -1 for bracket in brackets)
    if max(accumulate(steps), default=0) > 3 * (MAX_DEPTH + 1):
        raise ValueRefusedError("the value is nested too deeply")
