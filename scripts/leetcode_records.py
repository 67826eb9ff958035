"""Turn rLLM's LeetCode file (problem, solutions, tests) into problem records for code RL.

    python scripts/leetcode_records.py rllm_leetcode_train.json data/leetcode.jsonl [--at-least 2]

The data: leetcode.json of https://github.com/agentica-project/rllm. Its problems have one to five tests each. The paper
leaves out problems with fewer than 16, as a share of a few tests is a coarse reward: a rehearsal, not the paper's data.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from gppo.curate.suites import check_suite
from gppo.records import write_problems
from gppo.types import Problem


def leetcode_problem(row: dict[str, Any], number: int) -> Problem:
    """The record of a row; its tests are asserts, each a test of its own."""
    tests = check_suite(row["tests"]["functional"])
    return Problem(
        id=f"leetcode-{number}",
        prompt=({"role": "user", "content": row["problem"]},),
        ability="code",
        ground_truth=json.dumps(tests),
        data_source="leetcode",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--at-least", type=int, default=2, help="leave out problems with fewer tests")
    args = parser.parse_args()
    rows = json.loads(args.source.read_text(encoding="utf-8"))
    problems = [leetcode_problem(row, number) for number, row in enumerate(rows)]
    kept = [p for p in problems if len(json.loads(p.ground_truth)["asserts"]) >= args.at_least]
    args.target.parent.mkdir(parents=True, exist_ok=True)
    print(f"{write_problems(args.target, kept)} of {len(rows)} problems in {args.target}")


if __name__ == "__main__":
    main()
