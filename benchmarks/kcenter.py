"""K-Center-Greedy beside the memory-bandwidth floor of the plain algorithm, which reads all points for every centre.

    python benchmarks/kcenter.py [--quick] [--device cpu]

Three sets of unit vectors: tight clusters (noise 0.3 of the distance between clusters), loose ones (noise as large as
that distance) and no structure at all, where no algorithm can prune. The floor is the time to read the points once, the
best of five, times the centres; "plain" is the plain algorithm in float32, 20 centres measured and multiplied. One line
of JSON at the end; peer is the floor, ratio = peer / ours.
"""

import argparse
import json
import sys
import time
from functools import partial

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from gppo.curate.kcenter import k_center_greedy, squared_distances

CLUSTERS = 2000
KINDS = {"tight clusters": 0.3, "loose clusters": 1.0, "no structure": None}


def points(kind: str, count: int, dimensions: int) -> np.ndarray:
    """float32 [count, dimensions], of length 1."""
    rng = np.random.default_rng(0)
    found_ND = rng.standard_normal((count, dimensions), dtype=np.float32)
    spread = KINDS[kind]
    if spread is not None:
        middle_KD = rng.standard_normal((CLUSTERS, dimensions), dtype=np.float32)
        found_ND = middle_KD[rng.integers(CLUSTERS, size=count)] + np.float32(spread) * found_ND
    return found_ND / np.linalg.norm(found_ND, axis=1, keepdims=True)


def pass_seconds(points_ND: np.ndarray) -> float:
    """Seconds to read every point once with all threads; the best of five."""
    flat = torch.from_numpy(points_ND).view(-1)
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        flat.sum()
        best = min(best, time.perf_counter() - began)
    return best


def plain_seconds(points_ND: np.ndarray, centres: int = 20) -> float:
    """Seconds that the plain algorithm takes for a centre, as matrix times vector in float32."""
    points, norms = torch.from_numpy(points_ND), torch.ones(len(points_ND))
    nearest_N = torch.full((len(points_ND),), torch.inf)
    began = time.perf_counter()
    for _ in range(centres):
        chosen = points[int(nearest_N.argmax())]
        nearest_N = torch.minimum(nearest_N, norms + 1 - 2 * (points @ chosen))
    return (time.perf_counter() - began) / centres


def equal_to_plain(points_ND: np.ndarray, k: int) -> bool:
    """Whether the choice among these points is the plain algorithm's in float64."""
    everything = np.arange(len(points_ND))
    chosen = [0]
    squared_N = squared_distances(points_ND, everything, np.zeros_like(everything))
    squared_N[0] = -1
    while len(chosen) < k:
        chosen.append(int(squared_N.argmax()))
        nearer_N = squared_distances(points_ND, everything, np.full_like(everything, chosen[-1]))
        squared_N = np.minimum(squared_N, nearer_N)
        squared_N[chosen] = -1
    return k_center_greedy(points_ND, k).indices_K.tolist() == chosen


def note(rounds: list[int], done: int, total: int) -> None:
    rounds.append(done)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a quarter of the points and an eighth of the centres")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    count, k, dimensions = (50_000, 4_000, 384) if options.quick else (200_000, 31_600, 384)
    table = Table(title=f"{k} of {count} x {dimensions}, {torch.get_num_threads()} threads, {options.device}")
    for heading in (
        "points",
        "ours s",
        "CPU s",
        "floor s",
        "plain s",
        "GB/s",
        "rounds",
        "floor / ours",
        "2,000 equal",
    ):
        table.add_column(heading, justify="right")
    results = {}
    for kind in KINDS:
        points_ND = points(kind, count, dimensions)
        once = pass_seconds(points_ND)
        rounds: list[int] = []
        began, cpu_began = time.perf_counter(), time.process_time()
        k_center_greedy(points_ND, k, device=options.device, on_progress=partial(note, rounds))
        ours, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        floor, plain = once * k, plain_seconds(points_ND) * k
        equal = equal_to_plain(points_ND[:2000], 600)
        table.add_row(
            kind, f"{ours:.1f}", f"{cpu:.1f}", f"{floor:.0f}", f"{plain:.0f}", f"{points_ND.nbytes / once / 1e9:.1f}",
            str(len(rounds)), f"{floor / ours:.1f}", "yes" if equal else "NO",
        )  # fmt: skip
        print(f"{kind}: {ours:.1f} s, {cpu:.1f} of the CPU, floor {floor:.0f} s", file=sys.stderr, flush=True)
        results[kind] = {
            "ours": round(ours, 2),
            "cpu": round(cpu, 2),
            "peer": round(floor, 1),
            "ratio": round(floor / ours, 2),
            "plain": round(plain, 1),
            "rounds": len(rounds),
            "equal": equal,
        }
    Console(width=110).print(table)
    print(json.dumps({"benchmark": "kcenter", "points": count, "k": k, "device": options.device, **results}))


if __name__ == "__main__":
    main()
