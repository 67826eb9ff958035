"""A small server with OpenAI's protocol over the real local sampler, which fails on demand in every way servers do."""

import gzip
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import torch

from gppo.policy import Policy, encode_prompt
from gppo.rollout import LocalSampler, Request
from gppo.types import SamplingSettings, UserError
from gppo.verify.thinking import split_thinking

#: What a fault does with a request instead of answering it; True lets the answer follow.
Fault = Callable[["Handler"], bool | None]


@dataclass
class Asked:
    """A request as it came."""

    time: float
    path: str
    body: dict[str, Any]
    headers: dict[str, str]


@dataclass
class Endpoint:
    """The server's state; tests change it while it runs.

    Args:
        policy: what answers.
        key: wanted in every request; "" wants none.
        reasoning: name of the field that takes the thinking apart from the answer; "" leaves it in the text.
        counts: whether answers say how many tokens they took.
        seconds: before every answer.
    """

    policy: Policy
    key: str = ""
    reasoning: str = ""
    counts: bool = True
    seconds: float = 0.0
    faults: deque[Fault] = field(default_factory=deque)
    always: Fault | None = None
    asked: list[Asked] = field(default_factory=list)
    under_way: int = 0
    most_under_way: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self.decoding = threading.Lock()
        self.sampler = LocalSampler(self.policy, compiled=False)
        self.released = threading.Event()

    def __enter__(self) -> Self:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.endpoint = self  # type: ignore[attr-defined]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def fail(self, *faults: Fault) -> None:
        """The next requests meet these, one each."""
        self.faults.extend(faults)

    def next_fault(self, asked: Asked) -> Fault | None:
        with self.lock:
            self.asked.append(asked)
            return self.faults.popleft() if self.faults else self.always

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and content, as vLLM's server gives them."""
        tokenizer, chat = self.policy.tokenizer, path.endswith("/chat/completions")
        ids = encode_prompt(tokenizer, body["messages"]) if chat else torch.tensor(body["prompt"]).numpy()
        if len(ids) + body["max_tokens"] > self.policy.max_context:
            return 400, {"error": {"message": f"the context holds {self.policy.max_context} tokens"}}
        settings = SamplingSettings(body["temperature"], body["top_p"], body.get("top_k", 0), body["max_tokens"])
        with self.decoding:
            [[rollout]] = self.sampler.generate([Request("", ids, (0,))], settings, seed=body["seed"], step=0)
        choice: dict[str, Any] = {"index": 0, "finish_reason": rollout.finish_reason}
        if chat:
            choice["message"] = {"role": "assistant", **self._said(rollout.text)}
        else:
            choice["text"] = rollout.text
            if body.get("return_token_ids"):
                choice["token_ids"] = rollout.response_ids.tolist()
        content: dict[str, Any] = {"object": "chat.completion", "model": body["model"], "choices": [choice]}
        if self.counts:
            content["usage"] = {"prompt_tokens": len(ids), "completion_tokens": len(rollout.response_ids)}
        return 200, content

    def _said(self, text: str) -> dict[str, Any]:
        thinking = split_thinking(text)
        if not self.reasoning or thinking.status == "none":
            return {"content": text}
        if thinking.status == "open":
            return {self.reasoning: thinking.thought, "content": None}
        return {self.reasoning: thinking.thought, "content": thinking.answer}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"

    @property
    def endpoint(self) -> Endpoint:
        return self.server.endpoint  # type: ignore[attr-defined, no-any-return]

    def log_message(self, *_: object) -> None: ...

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        endpoint = self.endpoint
        with endpoint.lock:
            endpoint.under_way += 1
            endpoint.most_under_way = max(endpoint.most_under_way, endpoint.under_way)
        try:
            self._serve(json.loads(raw))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with endpoint.lock:
                endpoint.under_way -= 1

    def _serve(self, body: dict[str, Any]) -> None:
        endpoint = self.endpoint
        fault = endpoint.next_fault(Asked(time.time(), self.path, body, dict(self.headers)))
        if fault is not None and not fault(self):
            return
        if endpoint.key and self.headers.get("Authorization") != f"Bearer {endpoint.key}":
            said = f"Incorrect API key provided: {self.headers.get('Authorization', '').removeprefix('Bearer ')}."
            self.send(401, {"error": {"message": said}})
            return
        time.sleep(endpoint.seconds)
        try:
            self.send(*endpoint.answer(self.path, body))
        except UserError as error:
            self.send(400, {"error": {"message": str(error)}})

    def send(self, status: int, content: object, headers: Iterable[tuple[str, str]] = ()) -> None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)


def status(code: int, message: str = "not now", **headers: str) -> Fault:
    """An error, as OpenAI writes it."""

    def fault(handler: Handler) -> None:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        handler.send(code, {"error": {"message": message}}, named)

    return fault


def body(raw: object, code: int = 200, **headers: str) -> Fault:
    """A body of any kind."""

    def fault(handler: Handler) -> None:
        handler.send(code, raw, [(name.replace("_", "-"), value) for name, value in headers.items()])

    return fault


def hang(handler: Handler) -> None:
    """Nothing, until the test is over."""
    handler.endpoint.released.wait(60)
    handler.close_connection = True


def drip(handler: Handler) -> None:
    """A byte now and then: no read ever takes long, and the whole never ends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.endpoint.released.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()


def torn(handler: Handler) -> None:
    """Half of a body that was promised whole."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [{"message": {"content": "4')
    handler.wfile.flush()
    handler.close_connection = True


def hung_up(handler: Handler) -> None:
    """The connection ends without a word."""
    handler.close_connection = True


def endless(handler: Handler) -> None:
    """A body without end, as fast as it is taken."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    part = b"x" * 65536
    while not handler.endpoint.released.is_set():
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))


def bomb(handler: Handler) -> None:
    """64 megabytes of blanks, packed into a few kilobytes."""
    handler.send(200, _BLANKS, [("Content-Encoding", "gzip")])


_BLANKS = gzip.compress(bytes(1 << 26).replace(b"\0", b" "))
