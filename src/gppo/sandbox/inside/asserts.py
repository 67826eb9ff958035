"""Test code with asserts against a program in another process, joined by two pipes that carry plain values only.

The tester's process runs the test code, with a proxy for each name of the program. A call sends plain arguments; the
program's process
answers with a plain value, or the name of a built-in exception, and with those arguments that it changed, which are
applied in
place. Instances of the program's own classes stay there: the tester holds a number. So nothing the program defines, no
``__eq__``, no
``sys.exit`` and no patched builtin, takes part in a comparison; a program that writes to the pipe itself can only
choose its answers.
"""

import builtins
import json
import os
import struct
import types
from typing import Any, NoReturn

from . import child, nodes, values

_IN, _OUT, _VERDICT = 3, 4, 5
_MAX_FRAME = 64 << 20


class CandidateDied(BaseException):
    """The program's process ended; no ``except Exception`` of the test code may hide it."""


class CandidateError(Exception):
    """The program raised an exception of its own; its name is in the message."""


def _send(data: bytes) -> None:
    child.write_all(_OUT, struct.pack("<I", len(data)) + data)


def _receive() -> bytes | None:
    header = _exactly(4)
    if header is None:
        return None
    (length,) = struct.unpack("<I", header)
    if length > _MAX_FRAME:
        raise values.ValueRefusedError("a message is too long")
    return _exactly(length)


def _exactly(size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        try:
            piece = os.read(_IN, size - len(data))
        except OSError:
            return None
        if not piece:
            return None
        data += piece
    return bytes(data)


# --- the program's side ---


def serve(code: types.CodeType) -> NoReturn:
    """Run the program's definitions, then answer calls until the pipe closes."""
    child.fresh_streams()
    module = child.new_module("solution")

    def work() -> None:
        exec(code, module.__dict__)
        server = _Server(module.__dict__)
        _send(b"{}")
        while (request := _receive()) is not None:
            _send(server.answer(request))

    child.finish(work)


class _Server:
    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names
        self.held: list[Any] = []

    def answer(self, request: bytes) -> bytes:
        """Do what a request asks; what the program raises is an answer too."""
        try:
            asked = values.decode(request, self._read_other)
            target = self._resolve(asked["path"])
            if not asked["call"]:
                return self._encode({"callable": True} if callable(target) else {"value": target})
            arguments, keywords = asked["arguments"], asked["keywords"]
            everything = [*arguments, *keywords.values()]
            before = [self._encode(argument) for argument in everything]
            value = target(*arguments, **keywords)
            changed = {i: a for i, a in enumerate(everything) if self._encode(a) != before[i]}
            return self._encode({"value": value, "changed": changed})
        except Exception as error:
            kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
            return self._encode({"raised": kinds, "name": type(error).__name__, "message": _text_of(error)})

    def _resolve(self, path: list[Any]) -> Any:
        first, *attributes = path
        if isinstance(first, int):
            target = self.held[first]
        elif first in self.names:
            target = self.names[first]
        else:
            raise NameError(f"name {first!r} is not defined")
        for attribute in attributes:
            target = getattr(target, attribute)
        return target

    def _encode(self, value: Any) -> bytes:
        return values.encode(value, self._write_other)

    def _write_other(self, value: Any) -> Any:
        kind = nodes.kind_of(value)
        if kind is not None:
            return {kind: values.tagged(nodes.to_plain(value), self._write_other)}
        if isinstance(value, range) or hasattr(value, "__next__"):
            return values.tagged(list(value), self._write_other)
        for number, held in enumerate(self.held):
            if held is value:
                return {"held": [number]}
        self.held.append(value)
        return {"held": [len(self.held) - 1]}

    def _read_other(self, tag: str, body: Any) -> Any:
        if tag == "held":
            return self.held[body[0]]
        return _node(tag, body, self.names)


def _node(tag: str, body: Any, names: dict[str, Any]) -> Any:
    if tag not in ("list", "tree"):
        raise values.ValueRefusedError(f"unknown tag {tag[:20]!r}")
    return nodes.from_plain(body, tag, names)


def _text_of(error: Exception) -> str:
    try:
        return str(error)[:500]
    except Exception:
        return ""


# --- the tester's side ---


def judge(names: list[str]) -> NoReturn:
    """Run the test code of descriptor 0; write the verdict to descriptor 5."""
    source = child.read_all(0)
    child.fresh_streams()
    module = child.new_module("tests")
    verdict = {"passed": False, "kind": "program", "detail": "the program ended before it could be called"}
    try:
        code = compile(source.decode("utf-8"), "tests.py", "exec", dont_inherit=True)
        if _receive() is not None:
            client = _Client(module.__dict__)
            for name in names:
                root = name.partition(".")[0]
                module.__dict__[root] = Proxy(client, [root])
            exec(code, module.__dict__)
            verdict = {"passed": True, "kind": "", "detail": ""}
    except CandidateDied:
        verdict["detail"] = "the program ended during a call"
    except BaseException as error:
        kind = "assert" if isinstance(error, AssertionError) else "raised"
        verdict = {"passed": False, "kind": kind, "detail": f"{type(error).__name__}: {_text_of(error)}"[:300]}  # type: ignore[arg-type]
    child.write_all(_VERDICT, json.dumps(verdict).encode())
    os._exit(0)


class Proxy:
    """A name, an attribute or an instance of the program, as the test code sees it."""

    __slots__ = ("_client", "_path")

    def __init__(self, client: "_Client", path: list[Any]) -> None:
        self._client = client
        self._path = path

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """Call it over there; arguments that it changes are changed here."""
        return self._client.call(self._path, arguments, keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._client.get([*self._path, name])


class _Client:
    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names

    def call(self, path: list[Any], arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        request = {"path": path, "call": True, "arguments": list(arguments), "keywords": keywords}
        answer = self._ask(request)
        everything = [*arguments, *keywords.values()]
        for index, new in answer["changed"].items():
            _replace(everything[index], new)
        return answer["value"]

    def get(self, path: list[Any]) -> Any:
        answer = self._ask({"path": path, "call": False})
        return Proxy(self, path) if "callable" in answer else answer["value"]

    def _ask(self, request: dict[str, Any]) -> Any:
        try:
            _send(values.encode(request, self._write_other))
            text = _receive()
        except OSError:
            raise CandidateDied from None
        if text is None:
            raise CandidateDied
        answer = values.decode(text, self._read_other)
        if "raised" in answer:
            raise _exception(answer["raised"], str(answer["name"]), str(answer["message"]))
        return answer

    def _write_other(self, value: Any) -> Any:
        if isinstance(value, Proxy) and len(value._path) == 1 and isinstance(value._path[0], int):
            return {"held": value._path}
        kind = nodes.kind_of(value)
        if kind is not None:
            return {kind: values.tagged(nodes.to_plain(value), self._write_other)}
        if isinstance(value, range) or hasattr(value, "__next__"):
            return values.tagged(list(value), self._write_other)
        raise TypeError(f"a {type(value).__name__} cannot be passed to the program: it is not a plain value")

    def _read_other(self, tag: str, body: Any) -> Any:
        if tag == "held":
            return Proxy(self, [int(body[0])])
        return _node(tag, body, self.names)


def _exception(kinds: list[str], name: str, message: str) -> Exception:
    """The nearest built-in exception of those names; ours, with the name, where there is none but Exception."""
    for kind in kinds:
        found = getattr(builtins, str(kind), None)
        if kind != "Exception" and isinstance(found, type) and issubclass(found, Exception):
            try:
                return found(message)
            except TypeError:  # UnicodeDecodeError wants five arguments; its base will do
                continue
    return CandidateError(f"{name}: {message}")


def _replace(old: Any, new: Any) -> None:
    """Give ``old`` the content of ``new``, in place, as the program's call did to its copy."""
    if isinstance(old, list) and isinstance(new, list):
        old[:] = new
    elif (isinstance(old, dict) and isinstance(new, dict)) or (isinstance(old, set) and isinstance(new, set)):
        old.clear()
        old.update(new)
    elif nodes.kind_of(old) is not None and nodes.kind_of(old) == nodes.kind_of(new):
        for name in ("val", "next") if nodes.kind_of(old) == "list" else ("val", "left", "right"):
            setattr(old, name, getattr(new, name))
