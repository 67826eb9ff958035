"""Turn GSM8K's JSONL (question, answer with "#### 72" at its end) into problem records.

    python scripts/gsm8k_records.py train.jsonl data/gsm8k-train.jsonl

The data: https://github.com/openai/grade-school-math (MIT licence).
"""

import argparse
import json
from pathlib import Path

from gppo.records import write_problems
from gppo.types import Problem

INSTRUCTION = "\nPut your final answer within \\boxed{}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.source.read_text(encoding="utf-8").splitlines() if line.strip()]
    problems = [
        Problem(
            id=f"gsm8k-{args.source.stem}-{i}",
            prompt=({"role": "user", "content": row["question"] + INSTRUCTION},),
            ability="math",
            ground_truth=row["answer"].rpartition("####")[2].strip().replace(",", ""),
            data_source="openai/gsm8k",
        )
        for i, row in enumerate(rows)
    ]
    args.target.parent.mkdir(parents=True, exist_ok=True)
    print(f"{write_problems(args.target, problems)} problems in {args.target}")


if __name__ == "__main__":
    main()
