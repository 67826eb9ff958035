"""Many RL steps in a row: does anything grow?

Runs ``gppo rl`` on miniature sums and programs and looks from outside at each step: resident memory of the trainer and
of what it started, open files, processes, temporary files. Prints a table and one line of JSON; ``--plot`` writes the
curves as SVG.

    python benchmarks/soak.py --steps 500 --plot docs/images/soak.svg
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import psutil

from gppo.miniature.code_world import to_problem
from gppo.records import write_problems

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "chaos"))
from chaos_world import CODE, make_world, sums, write_recipe

COLUMNS = {
    "trainer_mib": "Trainer, resident memory, MiB",
    "children_mib": "Its processes, resident memory, MiB",
    "open_files": "Trainer, open files",
    "processes": "Processes",
    "temporary_files": "Temporary files",
    "step_seconds": "Seconds a step",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--plot", type=Path, help="where the SVG goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = soak(Path(name), args.steps)
    warm = [row for row in rows if args.steps * 0.2 <= row["step"] < args.steps * 0.4]
    end = [row for row in rows if args.steps * 0.8 <= row["step"]]
    summary = {key: (median(r[key] for r in warm), median(r[key] for r in end)) for key in COLUMNS}
    print(f"{'':38} {'steps 20-40 %':>14} {'last 20 %':>12}")
    for key, (before, after) in summary.items():
        print(f"{COLUMNS[key]:38} {before:14.2f} {after:12.2f}")
    ours = {key: {"before": a, "after": b, "ratio": b / a if a else None} for key, (a, b) in summary.items()}
    print(json.dumps({"benchmark": "soak", "steps": args.steps, "ours": ours, "peer": None, "ratio": None}))
    if args.plot:
        args.plot.write_text(plot(rows), encoding="utf-8")


def soak(folder: Path, steps: int) -> list[dict[str, float]]:
    """One row for each step that was seen."""
    world = folder / "world"
    make_world(world)
    # Reference answers that only computer algebra can compare: so a judge's worker is there from the first step on.
    math = [replace(problem, ground_truth=f"x+{problem.ground_truth}-x") for problem in sums(12)]
    write_problems(world / "both.jsonl", [*math, *map(to_problem, CODE)])
    both = [{"name": "both", "data": str(world / "both.jsonl"), "steps": steps}]
    settings = {"stages": both, "prompts_per_step": 4, "save_every": 5, "evaluate_every": 50, "learning_rate": 2e-5}
    recipe = write_recipe(folder / "recipe.yaml", world, sft=None, run_dir=str(folder / "run"), rl=settings)
    temporary = folder / "tmp"
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "gppo.cli.main", "rl", str(recipe)]
    rows: list[dict[str, float]] = []
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        trainer = psutil.Process(process.pid)
        while process.poll() is None:
            time.sleep(0.05)
            lines = metrics(folder / "run" / "metrics.jsonl")
            if lines and (not rows or lines[-1]["step"] > rows[-1]["step"]):
                try:
                    rows.append(look(trainer, temporary) | {k: lines[-1][k] for k in ("step", "seconds")})
                except psutil.NoSuchProcess:
                    break
    if process.returncode:
        raise SystemExit(f"the run ended with status {process.returncode}")
    for row in rows:
        row["step_seconds"] = row.pop("seconds")
    return rows


def look(trainer: psutil.Process, temporary: Path) -> dict[str, float]:
    """What the trainer and its processes hold now."""
    children = 0.0
    started = trainer.children(recursive=True)
    for child in started:
        try:
            children += child.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return {
        "trainer_mib": trainer.memory_info().rss / 2**20,
        "children_mib": children / 2**20,
        "open_files": trainer.num_fds(),
        "processes": 1 + len(started),
        "temporary_files": sum(1 for _ in temporary.rglob("*")),
    }


def metrics(path: Path) -> list[dict[str, float]]:
    if not path.is_file():
        return []
    tail = path.read_bytes()[-20_000:].split(b"\n")[1:-1]
    return [line for line in map(json.loads, tail) if line["kind"] == "rl"]


def plot(rows: list[dict[str, float]]) -> str:
    """Six curves over the steps, each from zero; grey that reads on light and on dark."""
    width, height, gap = 340, 110, 46
    last = rows[-1]["step"]
    parts = []
    for place, (key, title) in enumerate(COLUMNS.items()):
        x0, y0 = 50 + (place % 2) * (width + 80), 30 + (place // 2) * (height + gap)
        top = max(row[key] for row in rows) * 1.1 or 1.0
        points = " ".join(
            f"{x0 + width * row['step'] / last:.1f},{y0 + height * (1 - row[key] / top):.1f}" for row in rows
        )
        parts += [
            f'<text x="{x0}" y="{y0 - 8}">{title}</text>',
            f'<path d="M{x0} {y0}V{y0 + height}H{x0 + width}" fill="none" stroke="#888"/>',
            f'<polyline points="{points}" fill="none" stroke="#2a78d6" stroke-width="1.5"/>',
            f'<text x="{x0 - 6}" y="{y0 + 10}" text-anchor="end">{top:.3g}</text>',
            f'<text x="{x0 - 6}" y="{y0 + height}" text-anchor="end">0</text>',
            f'<text x="{x0 + width}" y="{y0 + height + 16}" text-anchor="end">step {last:.0f}</text>',
        ]
    whole = 30 + 3 * (height + gap)
    style = "text{font:12px sans-serif;fill:#777}"
    size = f'viewBox="0 0 850 {whole}" width="850" height="{whole}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>{"".join(parts)}</svg>\n'


if __name__ == "__main__":
    main()
