"""Kill -9 anywhere and start again: the same bytes, and what was finished is not made again."""

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time

import pytest
from curate_builders import EXACT, config, decontaminate, lines, problem

import gppo.curate.pipeline as pipeline
from gppo.curate import Removed, Replaced, curate
from gppo.records import read_problems, write_problems
from gppo.types import GppoError, Problem

NEAR = {"step": "near_dedup", "threshold": 0.7}


def write_sources(folder, count=400):
    rng = random.Random(1)
    vocabulary = [f"{a}{b}" for a in "bcdfghjklm" for b in "aeiou"]
    texts = [" ".join(rng.choices(vocabulary, k=rng.randint(5, 40))) for _ in range(count)]
    near = [f"{text} indeed" for text in texts[:40]]
    rows = [*texts, *texts[::9], *near, *(f"so {text} it is" for text in texts[100:120])]
    write_problems(folder / "a.jsonl", [problem(str(i), text) for i, text in enumerate(rows)])
    write_problems(folder / "exam.jsonl", [problem(str(i), text) for i, text in enumerate(texts[100:120])])
    return config(folder, [folder / "a.jsonl"], EXACT, NEAR, decontaminate(folder / "exam.jsonl"))


def everything(folder):
    """Every file that curation keeps, but the times in the metrics."""
    files = [*(folder / "run" / "curation").rglob("*"), folder / "out.jsonl"]
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file() and file.suffix != ".json"
    }


class Killed(BaseException):
    """Stands for a process that is gone: nothing after it runs."""


@pytest.mark.parametrize("fatal", range(1, 14))
def test_stopped_at_any_write_it_ends_the_same(tmp_path, run, monkeypatch, fatal):
    cfg = write_sources(tmp_path)
    curate(cfg, run)
    undisturbed = everything(tmp_path)
    for file in undisturbed:
        (tmp_path / file).unlink()
    replaced = itertools.count(1)
    replace = os.replace

    def dies(*names):
        if next(replaced) == fatal:
            raise Killed
        replace(*names)

    monkeypatch.setattr(os, "replace", dies)
    try:
        curate(cfg, run)
    except Killed:
        monkeypatch.setattr(os, "replace", replace)
        curate(cfg, run)
    assert everything(tmp_path) == undisturbed


def test_finished_steps_are_not_made_again(tmp_path, run, monkeypatch):
    cfg = write_sources(tmp_path)
    curate(cfg, run)
    made = []
    take = pipeline._take
    monkeypatch.setattr(pipeline, "_take", lambda step, *rest: made.append(step.step) or take(step, *rest))
    curate(cfg, run)
    assert made == []
    looser = cfg.model_copy(
        update={"steps": [cfg.steps[0], cfg.steps[1].model_copy(update={"threshold": 0.5}), cfg.steps[2]]}
    )
    curate(looser, run)
    assert made == ["near_dedup", "decontaminate"]


def test_a_changed_evaluation_set_is_read_again(tmp_path, run):
    cfg = write_sources(tmp_path)
    before = curate(cfg, run).rows
    exam = read_problems(tmp_path / "exam.jsonl")
    write_problems(tmp_path / "exam.jsonl", exam[:10])
    assert curate(cfg, run).rows == before + 10


def test_a_changed_source_is_read_again(tmp_path, run):
    cfg = write_sources(tmp_path)
    before = curate(cfg, run).rows
    rows = read_problems(tmp_path / "a.jsonl")
    write_problems(tmp_path / "a.jsonl", [*rows, problem("new", "a question that nobody asked before")])
    assert curate(cfg, run).rows == before + 1


def test_a_damaged_ledger_is_made_again(tmp_path, run):
    cfg = write_sources(tmp_path)
    curate(cfg, run)
    undisturbed = everything(tmp_path)
    ledger = run.path / "curation" / "the-set" / "02-near_dedup.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-10])
    curate(cfg, run)
    assert everything(tmp_path) == undisturbed


def test_a_spool_of_fewer_rows_than_its_summary_says_is_an_error(tmp_path, run):
    cfg = write_sources(tmp_path)
    spool = curate(cfg, run).spool
    spool.path.write_bytes(b"".join(spool.path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(GppoError, match="damaged"):
        list(spool)


class Relabel:
    """Changes every third row and removes every fifth."""

    title = "relabel"
    passes = 1

    def changes(self, items, bench):
        for item in items:
            if item.row % 5 == 0:
                yield Removed(item, "fifth", "its number ends with 0 or 5")
            elif item.row % 3 == 0:
                record = item.record
                yield Replaced(item, Problem(record.id, record.prompt, "math", record.ground_truth + "!"))


def test_changed_records_reach_later_steps_and_the_output(tmp_path, run, monkeypatch):
    write_problems(tmp_path / "a.jsonl", [problem(str(i), f"question {i}") for i in range(20)])
    cfg = config(tmp_path, [tmp_path / "a.jsonl"], EXACT, NEAR, EXACT)
    monkeypatch.setattr(pipeline, "step_of", lambda step: Relabel())
    result = curate(cfg, run)
    kept = [(p.id, p.ground_truth) for p in read_problems(cfg.output)]
    assert kept == [(str(i), "1!!!" if i % 3 == 0 else "1") for i in range(20) if i % 5]
    assert [(s.rows_in, s.rows_out) for s in result.funnel[1:]] == [(20, 16), (16, 16), (16, 16)]
    assert result.funnel[2].why == "5 changed"


class Twice:
    title = "twice"
    passes = 1

    def changes(self, items, bench):
        item = next(iter(items))
        yield Removed(item, "a", "b")
        yield Removed(item, "a", "b")


def test_a_step_that_names_a_row_twice_is_wrong(tmp_path, run, monkeypatch):
    write_problems(tmp_path / "a.jsonl", [problem("1", "x")])
    monkeypatch.setattr(pipeline, "step_of", lambda step: Twice())
    with pytest.raises(ValueError, match="each once"):
        curate(config(tmp_path, [tmp_path / "a.jsonl"], EXACT), run)


RECIPE = """
name: r
run_dir: {folder}/run
model: {{tiny: {{hidden_size: 32, layers: 1, heads: 2, kv_heads: 1}}, tokenizer: bytes}}
curate:
  - name: the set
    sources: [{{name: a, data: {folder}/a.jsonl}}]
    steps:
      - step: exact_dedup
      - {{step: near_dedup, threshold: 0.7}}
      - {{step: decontaminate, against: [{{name: exam, data: {folder}/exam.jsonl}}]}}
    output: {folder}/out.jsonl
"""


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "gppo.cli.main", "curate", folder / "recipe.yaml"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_kill_9_at_random_moments(tmp_path):
    write_sources(tmp_path, count=4000)
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path))
    began = time.monotonic()
    assert start(tmp_path).wait() == 0
    seconds = time.monotonic() - began
    undisturbed = everything(tmp_path)
    for file in undisturbed:
        (tmp_path / file).unlink()
    rng = random.Random(2)
    for _ in range(4):
        process = start(tmp_path)
        time.sleep(seconds * rng.uniform(0.3, 0.95))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert start(tmp_path).wait() == 0
    assert everything(tmp_path) == undisturbed
    ids = [line["extra_info"]["id"] for line in lines(tmp_path / "out.jsonl")]
    assert len(set(ids)) == len(ids)
