"""Every benchmark with a tiny model: killed again and again, it ends as the one that was left alone."""

import json

import pytest
import yaml
from evaluation_files import DATA, RECIPE, lay_out, lines, results

from gppo.config.benchmarks import BENCHMARKS

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no data at {DATA}; set GPPO_DATA")


@pytest.fixture
def files(tmp_path):
    lay_out(tmp_path / "data")
    return tmp_path / "data"


def place_for(tmp_path, name, files):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "data").symlink_to(files)
    return folder


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
