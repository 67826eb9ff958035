"""Near-duplicates among 100,000 statements: our MinHash in numpy beside rensa's, both with exact Jaccard.

    pip install rensa
    python benchmarks/near.py [--rows 100000]

Statements as in benchmarks/curation.py; every tenth has one or two words changed against an earlier one (some of these
are less alike than the threshold). Both ways start from the same texts and compare 3-grams at 0.8; rensa's candidates
are compared as Python sets. CPU seconds, so that a busy machine does no harm. Prints a table and one JSON line: ours,
rensa, the ratio.
"""

import argparse
import json
import random
import time
from collections.abc import Container, Iterator
from pathlib import Path

import rensa
from rich.console import Console
from rich.table import Table

from curation import statements
from gppo.config import NearDedupConfig
from gppo.curate.near import NearDedup
from gppo.curate.normalise import words
from gppo.curate.step import Bench, Item
from gppo.types import Problem

THRESHOLD, NGRAM, ORDERS, BANDS = 0.8, 3, 128, 16


class Rows:
    """Items that are in memory already, so that only finding is timed."""

    def __init__(self, texts: list[str]) -> None:
        self._items = [
            Item(i, "a", Problem(str(i), ({"role": "user", "content": text},), "math", "1"))
            for i, text in enumerate(texts)
        ]

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def only(self, rows: Container[int]) -> Iterator[Item]:
        return (item for item in self._items if item.row in rows)

    def __len__(self) -> int:
        return len(self._items)


def ours(texts: list[str]) -> set[int]:
    step = NearDedup(NearDedupConfig(step="near_dedup", threshold=THRESHOLD, ngram=NGRAM))
    bench = Bench("problems", ["a"], {"a": None}, Path(), Path(), Path(), Path(), 0, "cpu")
    return {change.item.row for change in step.changes(Rows(texts), bench)}


def with_rensa(texts: list[str]) -> set[int]:
    index = rensa.RMinHashLSH(threshold=THRESHOLD, num_perm=ORDERS, num_bands=BANDS)
    kept: dict[int, set[str]] = {}
    gone = set()
    for row, text in enumerate(texts):
        tokens = words(text)
        grams = {" ".join(tokens[i : i + NGRAM]) for i in range(max(1, len(tokens) - NGRAM + 1))}
        sketch = rensa.RMinHash(num_perm=ORDERS, seed=0)
        sketch.update(list(grams))
        if any(len(grams & kept[other]) >= THRESHOLD * len(grams | kept[other]) for other in index.query(sketch)):
            gone.add(row)
        else:
            index.insert(row, sketch)
            kept[row] = grams
    return gone


def world(rows: int) -> tuple[list[str], set[int]]:
    """The statements, and which of them are near an earlier one."""
    rng = random.Random(0)
    texts: list[str] = []
    planted = set()
    for row, tokens in enumerate(statements(5, rows)):
        if row % 10 == 9 and len(earlier := texts[rng.randrange(row)].split()) >= 40:
            planted.add(row)
            for at in rng.sample(range(len(earlier)), rng.randint(1, 2)):
                earlier[at] = "changed"
            tokens = earlier
        texts.append(" ".join(tokens))
    return texts, planted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    texts, planted = world(parser.parse_args().rows)
    table = Table("way", "CPU seconds", "planted", "found", "removed")
    seconds = {}
    for name, way in (("ours", ours), ("rensa", with_rensa)):
        began = time.process_time()
        gone = way(texts)
        seconds[name] = time.process_time() - began
        table.add_row(name, f"{seconds[name]:.1f}", str(len(planted)), str(len(gone & planted)), str(len(gone)))
    Console().print(table)
    print(json.dumps({"benchmark": "near-duplicates", **seconds, "ratio": seconds["ours"] / seconds["rensa"]}))


if __name__ == "__main__":
    main()
