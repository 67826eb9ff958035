"""What keeping every response costs: distillation's client beside a bare loop over the same HTTP library.

    python benchmarks/distill.py [--answers 2000] [--tokens 2000] [--concurrency 64]

The server is a process that answers at once with as many words as asked for, so that only the client's own work counts:
request, answer checked, line on disk flushed, budget. The bare loop posts and reads JSON, and keeps nothing. Both run
twice, in turn; the faster of each counts. Prints a table and one line of JSON.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import tempfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2

from gppo.config import BudgetConfig, EndpointConfig
from gppo.rollout.openai import Answer, Answers, Ask, Client, chat_ask, collect
from gppo.types import Message, SamplingSettings


class Handler(BaseHTTPRequestHandler):
    """Answers at once."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None: ...

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        choice = {"message": {"content": "word " * asked["max_tokens"]}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": asked["max_tokens"]}
        raw = json.dumps({"choices": [choice], "usage": usage}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
        self.wfile.write(head.encode() + raw)


class Server(ThreadingHTTPServer):
    """Takes many connections at once."""

    request_queue_size = 1024


def serve(ports: "multiprocessing.Queue[int]") -> None:
    server = Server(("127.0.0.1", 0), Handler)
    ports.put(server.server_address[1])
    server.serve_forever()


async def ours(config: EndpointConfig, asks: list[Ask], path: Path) -> None:
    async def on_answer(ask: Ask, answer: Answer) -> None: ...

    with Answers(path, config) as answers:
        async with Client(config, answers.budget, answers.note_lost) as client:
            outcome = await collect(client, answers, asks, on_answer)
        assert outcome.ended == "done"
        assert all(ask in answers for ask in asks)


async def bare(config: EndpointConfig, asks: list[Ask]) -> None:
    waiting = iter(asks)
    limits = httpx2.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency)

    async def work(http: httpx2.AsyncClient) -> None:
        for ask in waiting:
            answer = await http.post(config.url + ask.path, json=dict(ask.body))
            assert answer.json()["choices"][0]["message"]["content"]

    async with httpx2.AsyncClient(limits=limits, timeout=60) as http:
        await asyncio.gather(*(work(http) for _ in range(config.concurrency)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--answers", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=64)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    ports = context.Queue()
    server = context.Process(target=serve, args=(ports,), daemon=True)
    server.start()
    config = EndpointConfig(
        url=f"http://127.0.0.1:{ports.get()}/v1",
        model="m",
        concurrency=args.concurrency,
        budget=BudgetConfig(tokens=10**12),
    )
    settings = SamplingSettings(max_tokens=args.tokens)
    turns: tuple[Message] = ({"role": "user", "content": "word " * 100},)
    asks = [chat_ask(config, f"p{i}", 0, turns, settings, i) for i in range(args.answers)]
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    with tempfile.TemporaryDirectory(dir=os.getcwd()) as folder:
        for round_ in range(2):
            began = time.perf_counter()
            asyncio.run(ours(config, asks, Path(folder) / f"{round_}.jsonl"))
            seconds["ours"].append(time.perf_counter() - began)
            began = time.perf_counter()
            asyncio.run(bare(config, asks))
            seconds["bare"].append(time.perf_counter() - began)
            size = (Path(folder) / f"{round_}.jsonl").stat().st_size
    server.terminate()
    rates = {name: args.answers / min(took) for name, took in seconds.items()}
    print(f"{args.answers} answers of {args.tokens} tokens, {args.concurrency} at a time; {size / 2**20:.0f} MiB kept")
    for name, rate in rates.items():
        print(f"{name:6} {rate:8.0f} answers/s {rate * args.tokens / 1e6:8.2f} M tokens/s")
    result = {"benchmark": "distill", "ours": rates["ours"], "peer": rates["bare"]}
    print(json.dumps(result | {"ratio": rates["ours"] / rates["bare"]}))


if __name__ == "__main__":
    main()
