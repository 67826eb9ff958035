"""Curate MATH, GSM8K, AIME 1983-2023, LeetCode and TACO against the usual exams, and print the hits to be read.

    python scripts/curate_real_data.py DATA [--run runs/curate-real] [--hits 15]

DATA is a folder with the files that recipes/curate-real.yaml names under data/. Prints the funnels, then for each exam
how many rows met it, and the hits with the largest and the smallest overlap.
"""

import argparse
from collections import Counter
from pathlib import Path

import yaml
from rich.console import Console

from gppo.config import Recipe, dump_recipe, require
from gppo.curate import CurateResult, curate, funnel_table, write_page
from gppo.run import RunFolder

RECIPE = Path(__file__).parents[1] / "recipes" / "curate-real.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--run", type=Path, default=Path("runs/curate-real"))
    parser.add_argument("--hits", type=int, default=15, help="how many hits to print from either end")
    args = parser.parse_args()
    console = Console(width=180)
    text = RECIPE.read_text(encoding="utf-8").replace("data: data/", f"data: {args.data}/")
    recipe = Recipe.model_validate(yaml.safe_load(text.replace("{run}", str(args.run))))
    run = RunFolder.create(args.run, dump_recipe(recipe))
    results = [curate(config, run, seed=recipe.seed) for config in require(recipe, "curate")]
    for result in results:
        console.print(funnel_table(result.title, result.funnel))
        print_hits(result, args.hits, console)
    console.print(f"Page: {write_page(run.path, results)}")


def print_hits(result: CurateResult, most: int, console: Console) -> None:
    """Hits by exam, and some of them word for word."""
    removed = [line for ledger in result.spool.ledgers for line in ledger.removals() if "hits" in line["met"]]
    exams = Counter(name for line in removed for name in {hit["evaluation_set"] for hit in line["met"]["hits"]})
    console.print(f"{len(removed)} rows meet an exam: {', '.join(f'{name} {n}' for name, n in exams.most_common())}")
    best = [(max(line["met"]["hits"], key=lambda hit: hit["overlap"]), line) for line in removed]
    best.sort(key=lambda pair: -pair[0]["overlap"])
    shown = best if len(best) <= 2 * most else [*best[:most], *best[-most:]]
    for hit, line in shown:
        console.print(
            f"{hit['overlap']:5.0%} {line['source']} {line['id']} ~ {hit['evaluation_set']} {hit['problem_id']}: "
            f"{hit['gram']}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


if __name__ == "__main__":
    main()
