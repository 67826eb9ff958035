import json
import sys

import pytest
from curate_builders import EXACT, config

from gppo.curate import curate
from gppo.records import read_problems
from gppo.types import UserError

COLUMNS = {"prompt": "problem", "answer": "answer"}


def hub(folder, **options):
    return {"name": "web", "hub": str(folder), "columns": COLUMNS, **options}


def test_without_the_package_one_sentence_says_what_to_install(tmp_path, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"source 'web': .* pip install 'gppo\[hub\]'"):
        curate(config(tmp_path, [hub("nvidia/AceReason-Math")]), run)


@pytest.fixture
def offline(monkeypatch):
    pytest.importorskip("datasets", reason="the package datasets is not installed")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.usefixtures("offline")
def test_a_data_set_is_streamed_by_its_split(tmp_path, run):
    folder = tmp_path / "AceReason-Math"
    folder.mkdir()
    rows = [{"problem": f"What is 1 + {i}?", "answer": str(1 + i)} for i in range(5)]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]))
    (folder / "test.jsonl").write_text(json.dumps({"problem": "An exam?", "answer": "1"}) + "\n")
    cfg = config(tmp_path, [hub(folder)], EXACT)
    result = curate(cfg, run)
    assert [(p.prompt[0]["content"], p.ground_truth) for p in read_problems(cfg.output)] == [
        (row["problem"], row["answer"]) for row in rows
    ]
    assert (result.funnel[0].rows_in, result.funnel[0].rows_out) == (6, 6)
    curate(config(tmp_path, [hub(folder, split="test")]), run)
    assert [p.prompt[0]["content"] for p in read_problems(cfg.output)] == ["An exam?"]


@pytest.mark.usefixtures("offline")
def test_a_data_set_that_is_not_there_is_one_sentence(tmp_path, run):
    with pytest.raises(UserError, match=r"source 'web': .* cannot be read after row 0"):
        curate(config(tmp_path, [hub(tmp_path / "nowhere")]), run)
