"""Every benchmark with a tiny model: killed again and again, it ends as the one that was left alone."""

import json
import os
from pathlib import Path

import pytest
import yaml

from gppo.config.benchmarks import BENCHMARKS

DATA = Path(os.environ.get("GPPO_DATA") or Path(__file__).parents[3] / "shared" / "data")
RECIPE = Path(__file__).parents[2] / "recipes" / "eval-tiny.yaml"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}; set GPPO_DATA")


@pytest.fixture
def files(tmp_path):
    """The folder of the recipe's files: the published ones, and rows of those benchmarks that are not among them."""
    folder = tmp_path / "data"
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
        write(folder / "livecodebench" / f"{name}.jsonl", lines)
    olympiad = [{"id": i, "question": f"{i} + 1?", "final_answer": [f"{i + 1}"]} for i in range(3)]
    write(folder / "olympiadbench" / "OE_TO_maths_en_COMP.jsonl", olympiad)
    return folder


def write(path, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def place_for(tmp_path, name, files):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "data").symlink_to(files)
    return folder


def lines(folder):
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("runs/*/evaluations/*.results.jsonl"))


def results(folder):
    return {path.name: path.read_bytes() for path in folder.glob("runs/eval-tiny/evaluations/*")}


def test_all_benchmarks_killed_and_gone_on_with(tmp_path, server, files):
    recipe = yaml.safe_load(RECIPE.read_text())
    assert {one["benchmark"] for one in recipe["evaluate"]["sets"]} == set(BENCHMARKS)
    whole, killed = (place_for(tmp_path, name, files) for name in ("whole", "killed"))
    assert server.run(whole, "eval", RECIPE) == 0, (whole / "output.txt").read_text()
    for at in (4, 30, 60):
        command = server.start(killed, "eval", RECIPE)
        assert command.wait_until(lambda at=at: lines(killed) >= at)
        assert command.kill() == -9
    assert server.run(killed, "eval", RECIPE) == 0, (killed / "output.txt").read_text()
    found = results(whole)
    assert len([name for name in found if name.endswith(".results.jsonl")]) == len(BENCHMARKS)
    assert found.keys() >= {"table.md", "table.tex", "table.csv"}
    assert results(killed) == found
    for name in BENCHMARKS:
        [path] = (whole / "runs" / "eval-tiny" / "evaluations").glob(f"*--{name}-T-*.results.jsonl")
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
        assert {row["sample"] for row in rows} == {0, 1}
        assert all(row["id"].startswith(f"{name}/") and row["tokens"] <= 32 for row in rows)
        assert not any(row["correct"] for row in rows if row["truncated"])


def test_a_file_that_is_missing_is_said_before_a_model_is_made(tmp_path, server):
    assert server.run(tmp_path, "eval", RECIPE) == 2
    assert (tmp_path / "output.txt").read_text().startswith("error: data/aime24/test.jsonl: no such file")
