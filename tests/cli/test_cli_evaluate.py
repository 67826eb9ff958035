"""``gppo eval --from-outputs`` and ``gppo compare``: what people see, and that torch is never loaded for it."""

import csv
import json

import numpy as np
import pytest
import yaml
from cli_runs import TINY, write_lines
from test_cli_light import COMMAND, loaded_by

BOXED = "<think>x</think>\\boxed{%s}"


def rows(right):
    return [
        {"id": i, "gold": str(i), "response": [BOXED % (i if j < right else -1) for j in range(2)], "label": True}
        for i in range(4)
    ]


def test_outputs_are_scored_without_torch(tmp_path):
    write_lines(tmp_path / "mine.jsonl", rows(1))
    done = loaded_by(COMMAND.format(arguments=["eval", "--from-outputs", "mine.jsonl"]), tmp_path)
    assert "status: 0\nloaded: []" in done.stdout
    assert "Agrees with the file's own labels on 4 of 8 responses (50.00%)" in done.stdout
    folder = tmp_path / "runs" / "mine" / "evaluations"
    [row] = csv.DictReader((folder / "table.csv").open())
    assert (row["set"], row["problems"], row["k"], float(row["avg"]), float(row["pass@2"])) == (
        "mine",
        "4",
        "2",
        0.5,
        1,
    )
    assert "| mine | 4 | 2 | 50.0 |" in (folder / "table.md").read_text()
    assert r"\toprule" in (folder / "table.tex").read_text()
    read = [json.loads(line) for line in (folder / "step-000000--mine.results.jsonl").read_text().splitlines()]
    assert [(line["id"], line["sample"], line["extracted"]) for line in read][:2] == [("0", 0, "0"), ("0", 1, "-1")]


def test_two_runs_are_compared(gppo, tmp_path):
    for name, right in (("one", 1), ("two", 2)):
        write_lines(tmp_path / "set.jsonl", rows(right))
        assert gppo("eval", "--from-outputs", "set.jsonl", "--run", name).status == 0
    done = gppo("compare", "one", "two", "--out", "both/table")
    assert done.status == 0
    assert "two against one" in done.stdout
    [row] = csv.DictReader((tmp_path / "both" / "table.csv").open())
    assert (float(row["first"]), float(row["second"]), float(row["difference"])) == (0.5, 1.0, 0.5)
    assert float(row["p"]) == 0.125  # four questions, all better: 2 of 16 sign patterns
    assert (row["better"], row["worse"]) == ("4", "0")
    assert gppo("compare", "one", "nowhere").refusal() == "nowhere: no such folder; give a run's"
    write_lines(tmp_path / "other.jsonl", rows(1))
    assert gppo("eval", "--from-outputs", "other.jsonl", "--run", "three").status == 0
    assert "evaluated nothing of the same name" in gppo("compare", "one", "three").refusal()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a RECIPE, or outputs to score again with --from-outputs"),
        (["r.yaml", "--from-outputs", "x.jsonl"], "give a RECIPE or --from-outputs, not both"),
        (["--from-outputs", "x.jsonl"], "x.jsonl: no such file"),
        (["--from-outputs", "x.jsonl", "--benchmark", "aime"], "--benchmark aime: there is none of that name"),
        (["--from-outputs", "x.jsonl", "--column", "gold"], "--column gold: write KEY=NAME with a key of response"),
    ],
)
def test_mistakes(gppo, arguments, words):
    assert words in gppo("eval", *arguments).refusal()


def test_a_preset_samples_a_benchmark_as_its_table_says(gppo, tmp_path):
    write_lines(tmp_path / "aime.jsonl", [{"id": 1, "problem": "1+1?", "answer": "2"}])
    recipe = {
        "name": "x",
        "model": TINY,
        "evaluate": {"sets": [{"benchmark": "aime24", "data": "aime.jsonl"}], "max_response_tokens": 2},
    }
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    assert gppo("eval", "r.yaml", "--preset", "released").status == 0
    [path] = (tmp_path / "runs" / "x" / "evaluations").glob("step-*.json")
    saved = json.loads(path.read_text())
    assert saved["name"] == "aime24 T=0.6 top-p 0.95 top-k 20 penalty 1.05"
    assert (saved["sampling"]["top_k"], saved["sampling"]["repetition_penalty"]) == (20, 1.05)
    assert np.shape(saved["correct"]) == (1, 64)
    assert saved["problem_ids"] == ["aime24/1"]
