"""``gppo demo --seeds n``: the demo several times over, and what survives the change of seed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from gppo.evaluate import across_seeds, score
from gppo.miniature.demo import before_and_after, run_demo
from gppo.miniature.world import UNSEEN_IN_RL
from gppo.run import RunFolder
from gppo.types import Evaluation


def run_seeds(
    folder: Path, seeds: Sequence[int], console: Console, *, fresh: bool = False, overrides: Sequence[str] = ()
) -> None:
    """Run the demo for each seed in a folder of its own and print means with standard errors over seeds."""
    runs = []
    for seed in seeds:
        console.rule(f"seed {seed}")
        own = folder.with_name(f"{folder.name}-seed-{seed}")
        runs.append(run_demo(own, seed, console, fresh=fresh, overrides=overrides))
    console.rule(f"{len(runs)} seeds")
    console.print(seeds_table(runs))
    clip = [
        np.mean([line["clip_fraction"] for line in run.read_metrics("rl") if "clip_fraction" in line]) for run in runs
    ]
    console.print("Mean clip fraction by seed: " + ", ".join(f"{share:.2%}" for share in clip))


def seeds_table(runs: Sequence[RunFolder]) -> Table:
    """Held-out accuracy after SFT, after RL and the difference: mean over seeds, plus or minus the standard error."""
    table = Table(title=f"Held-out accuracy over {len(runs)} seeds, percent (± standard error over seeds)")
    for column in ("sampling", "difficulty", "after SFT", "after RL", "difference"):
        table.add_column(column, justify="left" if column in ("sampling", "difficulty") else "right")
    pairs = [before_and_after(run) for run in runs]
    for way in [evaluation.name for evaluation in pairs[0][0]]:
        chosen = [tuple(next(e for e in side if e.name == way) for side in pair) for pair in pairs]
        for label in [*sorted(set(chosen[0][0].difficulty)), "all"]:
            before = [_accuracy(pair[0], label) for pair in chosen]
            after = [_accuracy(pair[1], label) for pair in chosen]
            gain = [b - a for a, b in zip(before, after, strict=True)]
            shown = f"{label} (unseen in RL)" if label in UNSEEN_IN_RL else label
            table.add_row(way, shown, *(_cell(values) for values in (before, after, gain)), end_section=label == "all")
    return table


def _accuracy(evaluation: Evaluation, label: str) -> float:
    select = None if label == "all" else np.array([d == label for d in evaluation.difficulty])
    return score(evaluation, select).avg


def _cell(values: Sequence[float]) -> str:
    mean, error = across_seeds(values)
    return f"{100 * mean:.1f} ± {100 * error:.1f}"
