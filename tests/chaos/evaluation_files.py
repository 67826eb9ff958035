"""The files that recipes/eval-tiny.yaml names, laid out, and what an evaluation of it leaves."""

import json
import os
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("GPPO_DATA") or Path(__file__).parents[3] / "shared" / "data")
RECIPE = Path(__file__).parents[2] / "recipes" / "eval-tiny.yaml"


def lay_out(folder: Path) -> None:
    """The published files, and rows in the form of those benchmarks that are not among them."""
    folder.mkdir()
    for place in DATA.iterdir():
        if place.name not in ("livecodebench", "olympiadbench"):
            (folder / place.name).symlink_to(place)
    example = json.loads((DATA / "livecodebench" / "stdin.json").read_text())[1]
    cases = json.dumps([{"input": "11\n00000000008\n", "output": "1\n", "testtype": "stdin"}])
    row = {"question_content": example["question"], "starter_code": "", "difficulty": "easy", "metadata": "{}",
           "public_test_cases": cases, "private_test_cases": cases}  # fmt: skip
    for name, day in (("test5", "2025-01-31"), ("test6", "2025-02-01")):
        lines = [row | {"question_id": f"{name}-{i}", "contest_date": day} for i in range(3)]
        _write(folder / "livecodebench" / f"{name}.jsonl", lines)
    olympiad = [{"id": i, "question": f"{i} + 1?", "final_answer": [f"{i + 1}"]} for i in range(3)]
    _write(folder / "olympiadbench" / "OE_TO_maths_en_COMP.jsonl", olympiad)


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def lines(folder: Path) -> int:
    """Responses in the results so far."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/evaluations/*.results.jsonl"))


def results(folder: Path) -> dict[str, bytes]:
    """What the evaluation wrote, but for the answers of a server, which end in any order."""
    found = folder.glob("runs/eval-tiny/evaluations/*")
    return {path.name: path.read_bytes() for path in found if path.name != "answers.jsonl"}
