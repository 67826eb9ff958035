"""The math judge beside math-verify on real model outputs: the same pairs, one run, one core; and its accuracy.

    python benchmarks/verifier.py [--data FOLDER] [--pairs N]

Ways: ours (as shipped, with its memory of pairs), ours without that memory, math-verify with its defaults, math-verify
on the last box alone. Each pair goes through every way before the next one comes, so that a busy machine is as bad for
each. With ``--accuracy`` it prints every row of ``verifier_dev.jsonl`` on which the lenient judge and the label differ.
Prints tables and one line of JSON.
"""

import argparse
import json
import logging
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from math_verify import parse
from math_verify import verify as same

from gppo.verify import extract_answer
from gppo.verify.judge import answer_pair
from gppo.verify.pool import JudgePool

logging.getLogger("math_verify").setLevel(logging.CRITICAL)
DATA = Path(os.environ.get("GPPO_DATA", Path(__file__).parents[2] / "shared" / "data"))
Judge = Callable[[str, str], bool]


def outputs(folder: Path, limit: int | None) -> tuple[list[tuple[str, str]], list[bool]]:
    """Reference answers and real outputs, eight for each of 100 problems; and the labels that came with them."""
    lines = (folder / "qwen_math_outputs" / "math_cot_100.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    pairs = [(record["gt"], output) for record in records for output in record["code"]]
    labels = [bool(label) for record in records for label in record["score"]]
    return pairs[:limit], labels[:limit]


def defaults(gold: str, response: str) -> bool:
    """math-verify as its README shows it."""
    return bool(same(parse(f"${gold}$"), parse(response)))


def last_box(gold: str, response: str) -> bool:
    """math-verify on the last box, which is all that it needs to read of a boxed response."""
    return bool(same(parse(f"${gold}$"), parse(rf"\boxed{{{extract_answer(response)}}}")))


def ours(pool: JudgePool, remember: bool) -> Judge:
    """The judge as training calls it: thinking, extraction, comparison."""

    def judge(gold: str, response: str) -> bool:
        if not remember:
            pool._known.clear()
        pair = answer_pair(gold, response, False, False)
        return isinstance(pair, tuple) and pool.judge(*pair).correct

    return judge


def measure(pairs: list[tuple[str, str]], ways: dict[str, Judge]) -> dict[str, tuple[list[float], list[bool]]]:
    """Seconds and verdict of each pair by each way."""
    results: dict[str, tuple[list[float], list[bool]]] = {name: ([], []) for name in ways}
    for judge in ways.values():  # libraries, workers and tables are loaded before the clock starts
        judge("1", r"\boxed{\int_0^1 2x \, dx}")
    for gold, response in pairs:
        for name, judge in ways.items():
            start = time.perf_counter()
            verdict = judge(gold, response)
            results[name][0].append(time.perf_counter() - start)
            results[name][1].append(verdict)
    return results


def accuracy(folder: Path) -> dict[str, int]:
    """How often the lenient judge and the labels of the development pairs differ; every such pair is printed."""
    lines = (folder / "verifier_dev.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    with JudgePool() as pool:
        verdicts = list(pool.imap(answer_pair(row["gold"], row["pred"], False, True) for row in rows))
    counts = {"pairs": len(rows), "false positives": 0, "false negatives": 0}
    for row, verdict in zip(rows, verdicts, strict=True):
        if verdict.correct != bool(row["truth"]):
            kind = "false positives" if verdict.correct else "false negatives"
            counts[kind] += 1
            print(f"{kind[:-1]:15} {row['id']:5}  {row['gold'][-50:]!r}  {verdict.extracted!r}  ({verdict.rule})")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER")
    parser.add_argument("--pairs", type=int, metavar="N", help="only the first N")
    parser.add_argument("--accuracy", action="store_true", help="judge the development pairs instead")
    options = parser.parse_args()
    if options.accuracy:
        counts = accuracy(options.data)
        wrong = counts["false positives"] + counts["false negatives"]
        print(json.dumps({"benchmark": "verifier accuracy", **counts, "accuracy": 1 - wrong / counts["pairs"]}))
        return
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    pairs, labels = outputs(options.data, options.pairs)
    with JudgePool() as pool:
        ways = {
            "ours": ours(pool, remember=True),
            "ours, no memory": ours(pool, remember=False),
            "math-verify": defaults,
            "math-verify, last box": last_box,
        }
        results = measure(pairs, ways)
    figures = {}
    print(f"{'way':24}{'pairs/s':>10}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}{'as labelled':>13}")
    for name, (seconds, verdicts) in results.items():
        rate = len(pairs) / sum(seconds)
        p99 = 1000 * statistics.quantiles(seconds, n=100)[98]
        agree = sum(a == b for a, b in zip(verdicts, labels, strict=True))
        figures[name] = {"pairs_per_second": rate, "p99_ms": p99, "max_ms": 1000 * max(seconds), "as_labelled": agree}
        middle = 1000 * statistics.median(seconds)
        print(f"{name:24}{rate:10.0f}{middle:9.2f}{p99:9.2f}{1000 * max(seconds):9.1f}{agree:9} of {len(pairs)}")
    rate = figures["ours, no memory"]["pairs_per_second"]
    ratio = {name: rate / figures[name]["pairs_per_second"] for name in ("math-verify", "math-verify, last box")}
    peer = {name: figures[name] for name in ratio}
    line = {"ours": figures["ours, no memory"], "ours_as_shipped": figures["ours"], "peer": peer, "ratio": ratio}
    print(json.dumps({"benchmark": "verifier", "pairs": len(pairs), **line}))


if __name__ == "__main__":
    main()
