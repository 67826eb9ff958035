"""Decontamination of real problems: what boilerplate hides, and that repeats are found."""

import json
import random

import pytest
from curate_builders import DATA, EXACT, config, lines
from curate_builders import source as source_of

from gppo.curate import curate
from gppo.curate.normalise import words

pytestmark = pytest.mark.skipif(not (DATA / "aime24").is_dir(), reason=f"no data at {DATA}; set GPPO_DATA")

AIME24 = {"name": "aime24", "data": DATA / "aime24" / "test.jsonl", "format": "aime"}
OLD = {"name": "aime", "data": DATA / "aime_1983_2023" / "aime.json", "format": "aime"}
SYNONYMS = {"find": "determine", "the": "that", "and": "as well as", "number": "count", "positive": "strictly positive"}


def leaks(result, number):
    return {line["id"]: line for line in lines(result.folder / f"{number:02d}-decontaminate.jsonl")}


def against(**options):
    return {"step": "decontaminate", "against": [AIME24], **options}


def test_every_shared_gram_flags_a_quarter_and_stop_grams_leave_a_handful(tmp_path, run):
    everything = leaks(curate(config(tmp_path, [OLD], EXACT, against()), run), 2)
    assert len(everything) == 243
    few = leaks(curate(config(tmp_path, [OLD], EXACT, against(stop_grams=3)), run), 2)
    assert len(few) <= 20
    assert set(few) < set(everything)


def lightly_reworded(rng, text):
    """Words changed here and there, so that nine words in a row stay somewhere."""
    tokens = text.split()
    start = rng.randrange(max(1, len(tokens) - 14))
    for i, token in enumerate(tokens):
        if not start <= i < start + 14 and rng.random() < 0.25:
            tokens[i] = SYNONYMS.get(token.lower(), f"{token} indeed")
    return " ".join(tokens)


def nine_in_a_row(one, other):
    """Whether two texts share nine words in a row, by a plainer way."""
    one, other = (f" {' '.join(words(text))} " for text in (one, other))
    tokens = one.split()
    return any(f" {' '.join(tokens[i : i + 9])} " in other for i in range(len(tokens) - 8))


@pytest.mark.parametrize("seed", range(3))
def test_fifty_planted_repeats_are_all_found_beside_975_older_problems(tmp_path, run, seed):
    rng = random.Random(seed)
    exam = [row["problem"] for row in lines(DATA / "aime24" / "test.jsonl")]
    planted = [(f"verbatim-{i}", rng.choice([text, text.upper(), f"Q: {text}"])) for i, text in enumerate(exam[:25])]
    planted += [(f"reworded-{i}", lightly_reworded(rng, text)) for i, text in enumerate(rng.choices(exam, k=25))]
    old = json.loads((DATA / "aime_1983_2023" / "aime.json").read_text())
    rows = [{"id": f"old-{i}", "problem": row["problem"], "answer": "1"} for i, row in enumerate(old)]
    rows += [{"id": name, "problem": text, "answer": "1"} for name, text in planted]
    rng.shuffle(rows)
    (tmp_path / "a.json").write_text(json.dumps(rows))
    source = source_of(tmp_path / "a.json", columns={"prompt": "problem", "answer": "answer", "id": "id"})
    found = leaks(curate(config(tmp_path, [source], against(stop_grams=3)), run), 1)
    assert all(any(nine_in_a_row(text, other) for other in exam) for _, text in planted)
    assert {name for name, _ in planted} <= set(found)
    assert sum(name.startswith("old-") for name in found) <= 20


def test_a_leak_in_many_sources_is_no_boilerplate(tmp_path, run):
    """Ten different rewordings of one exam problem: each is a copy, so none makes the others' grams common."""
    rng = random.Random(0)
    exam = lines(DATA / "aime24" / "test.jsonl")[3]["problem"]
    texts = {lightly_reworded(rng, exam) for _ in range(12)}
    rows = [{"problem": text, "answer": "1"} for text in sorted(texts)]
    (tmp_path / "a.json").write_text(json.dumps([*rows, {"problem": "Something else.", "answer": "1"}]))
    source = source_of(tmp_path / "a.json", columns={"prompt": "problem", "answer": "answer"})
    result = curate(config(tmp_path, [source], against(stop_grams=2)), run)
    assert result.rows == 1


def test_two_prints_of_one_exam_find_each_other(tmp_path, run):
    nemo = {"name": "nemo", "data": DATA / "aime24" / "nemo_aime24.jsonl", "format": "aime"}
    cfg = config(tmp_path, [nemo, OLD], against(stop_grams=3))
    found = leaks(curate(cfg, run), 1)
    assert sum(line["source"] == "nemo" for line in found.values()) == 30
