"""Curation at the paper's scale: 1.5M problem statements, exact duplicates and 9-gram overlap with 5,000 problems out.

    python benchmarks/curation.py [--quick] [--rows 1500000] [--folder DIR]

Statements are made up: words drawn by Zipf's law from 30,000, median 60 a statement; 2 % are repeated in other letters
and spaces, 0.5 % hold ten words in a row of an evaluation problem. The time is that of `gppo curate`'s own function in
a process of its own, from JSONL to JSONL, the spool and the ledgers included; memory is that process's peak. A quarter
and a half of the rows come first, to see whether it grows with the rows. --quick takes under 45 seconds. Needs about
1.5 GB of disk for a million rows.

Prints a table and one JSON line: ours in seconds, the allowed 600 scaled by the rows, the ratio. Then K-Center-Greedy
beside its floor (kcenter.py), with a table and a line of its own.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from gppo.config import CurateConfig
from gppo.curate import curate
from gppo.run import RunFolder

EXAM = 5000
ALLOWED_SECONDS, ALLOWED_ROWS, ALLOWED_GB = 600.0, 1_500_000, 8.0
REPEATED, LEAKED = 0.02, 0.005


def statements(seed: int, count: int, median: int = 60) -> Iterator[list[str]]:
    """Statements as lists of words, lengths lognormal around the median."""
    rng = np.random.default_rng(seed)
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "ar", "en", "is")]
    stems = ["".join(rng.choice(syllables, size=rng.integers(1, 5))) for _ in range(29_000)]
    vocabulary = np.array([*stems, *map(str, range(1000))], dtype=object)
    while count:
        block = min(count, 20_000)
        count -= block
        lengths = np.clip(rng.lognormal(np.log(median), 0.5, size=block).astype(int), 4, 600)
        drawn = vocabulary[(rng.zipf(1.15, size=lengths.sum()) - 1) % len(vocabulary)].tolist()
        at = 0
        for length in lengths.tolist():
            yield drawn[at : at + length]
            at += length


def write_world(folder: Path, rows: int) -> tuple[int, int]:
    """Write train.jsonl and exam.jsonl, where they are not there; returns how many statements repeat and leak."""
    if (folder / "planted.json").exists():
        repeated, leaked = json.loads((folder / "planted.json").read_text())
        return repeated, leaked
    folder.mkdir(parents=True, exist_ok=True)
    exam = list(statements(1, EXAM))
    with (folder / "exam.jsonl").open("w") as file:
        for i, tokens in enumerate(exam):
            file.write(json.dumps({"id": f"exam-{i}", "q": " ".join(tokens)}) + "\n")
    rng = np.random.default_rng(2)
    planted = rng.random(rows)
    where = rng.integers(EXAM, size=rows)
    repeated = leaked = 0
    before = ["a", "first", "statement"]
    with (folder / "train.jsonl").open("w") as file:
        for i, tokens in enumerate(statements(3, rows)):
            if planted[i] < REPEATED and i:
                repeated += 1
                text = "  ".join(before).upper()
            elif planted[i] < REPEATED + LEAKED and len(exam[where[i]]) >= 10:
                leaked += 1
                tokens[2:2] = exam[where[i]][:10]
                text = " ".join(tokens)
            else:
                text = " ".join(tokens) + "."
                before = [*tokens[:-1], tokens[-1] + "."]
            file.write(json.dumps({"id": i, "q": text, "a": "1"}) + "\n")
    (folder / "planted.json").write_text(json.dumps([repeated, leaked]))
    return repeated, leaked


def measured(folder: Path) -> dict[str, float]:
    """Curate in a process of its own: seconds by the clock and of CPU, peak memory in GB, rows removed by each step."""
    receive, send = multiprocessing.get_context("spawn").Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(target=_curate, args=(folder, send))
    process.start()
    send.close()
    found = receive.recv()
    process.join()
    return found


def _curate(folder: Path, send: "multiprocessing.connection.Connection") -> None:
    config = CurateConfig.model_validate(
        {
            "name": "set",
            "sources": [{"name": "train", "data": folder / "train.jsonl", "columns": {"prompt": "q", "answer": "a"}}],
            "steps": [
                {"step": "exact_dedup"},
                {
                    "step": "decontaminate",
                    "against": [
                        {"name": "exam", "data": folder / "exam.jsonl", "columns": {"prompt": "q", "id": "id"}}
                    ],
                },
            ],
            "output": folder / "out.jsonl",
        }
    )
    run = RunFolder.create(folder / "run", "name: benchmark\n", fresh=True)
    began = time.perf_counter()
    result = curate(config, run)
    seconds, cpu = time.perf_counter() - began, time.process_time()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    removed = [step.rows_in - step.rows_out for step in result.funnel[1:]]
    send.send({"seconds": seconds, "cpu": cpu, "gb": peak / 2**20, "same": removed[0], "leaked": removed[1]})


def scale(rows: int, folder: Path, console: Console) -> dict[str, float]:
    """A quarter, a half and all of the rows; what to print as JSON."""
    table = Table(
        "rows", "seconds", "of CPU", "CPU us a row", "peak GB", "repeated: planted, removed", "leaked: planted, removed"
    )
    last: dict[str, float] = {}
    worlds = [rows // share for share in (4, 2, 1)]
    planted = [write_world(folder / str(size), size) for size in worlds]
    for size, (repeated, leaked) in zip(worlds, planted, strict=True):
        last = measured(folder / str(size))
        table.add_row(
            f"{size:,}",
            f"{last['seconds']:.1f}",
            f"{last['cpu']:.1f}",
            f"{last['cpu'] / size * 1e6:.0f}",
            f"{last['gb']:.2f}",
            f"{repeated}, {last['same']}",
            f"{leaked}, {last['leaked']}",
        )
    console.print(table)
    allowed = ALLOWED_SECONDS * rows / ALLOWED_ROWS
    return {
        "rows": rows,
        "ours": last["seconds"],
        "allowed": allowed,
        "ratio": last["seconds"] / allowed,
        "cpu": last["cpu"],
        "gb": last["gb"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="60,000 rows")
    parser.add_argument("--rows", type=int, default=ALLOWED_ROWS)
    parser.add_argument("--folder", type=Path, help="made-up rows are kept here for the next time")
    args = parser.parse_args()
    os.environ["TERM"] = "dumb"  # progress lines, no live bars
    folder = args.folder or Path(tempfile.mkdtemp())
    found = scale(60_000 if args.quick else args.rows, folder, Console())
    if args.folder is None:
        shutil.rmtree(folder)
    print(json.dumps({"benchmark": "exact dedup and 9-gram decontamination", **found}), flush=True)
    k_center = [sys.executable, str(Path(__file__).with_name("kcenter.py")), *(["--quick"] if args.quick else [])]
    subprocess.run(k_center, check=True)


if __name__ == "__main__":
    main()
