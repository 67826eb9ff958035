import random

import numpy as np
import pytest
from curate_builders import config, conversation, lines, problem
from hypothesis import given
from hypothesis import strategies as st

from gppo.curate import curate
from gppo.curate.minhash import Bands, Shingles, jaccard
from gppo.curate.normalise import words
from gppo.records import read_conversations, read_problems, write_conversations, write_problems

NEAR = {"step": "near_dedup"}
VOCABULARY = [f"{a}{b}{c}" for a in "bcdfghjklm" for b in "aeiou" for c in "nrst"]


def sentence(rng, length):
    return " ".join(rng.choices(VOCABULARY, k=length))


def grams(text, n):
    tokens = words(text)
    return {tuple(tokens[i : i + n]) for i in range(max(1, len(tokens) - n + 1))}


def plain_jaccard(one, other, n=3):
    one, other = grams(one, n), grams(other, n)
    return len(one & other) / len(one | other)


def reworded(rng, text, changes):
    tokens = text.split()
    for at in rng.sample(range(len(tokens)), changes):
        tokens[at] = rng.choice(VOCABULARY)
    return " ".join(tokens)


@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12),
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12),
)
def test_similarity_is_that_of_the_sets_of_n_grams(one, other):
    shingles = Shingles(3)
    found = jaccard(shingles.of(one), shingles.of(other))
    if len(one) >= 3 and len(other) >= 3:
        assert found == plain_jaccard(" ".join(one), " ".join(other))
    assert jaccard(shingles.of(one), shingles.of(one)) == 1


def test_the_order_of_words_inside_a_gram_counts():
    shingles = Shingles(3)
    assert jaccard(shingles.of(["a", "b", "c"]), shingles.of(["c", "b", "a"])) == 0


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95])
def test_bands_find_pairs_at_the_threshold(threshold):
    rng = np.random.default_rng(0)
    bands = Bands(threshold)
    shared = round(200 * threshold)
    found = 0
    for _ in range(300):
        values = np.unique(rng.integers(1 << 63, size=400, dtype=np.uint64))
        rest = (200 - shared) // 2
        one, other = (
            np.sort(values[: shared + rest]),
            np.sort(np.r_[values[:shared], values[-rest:]] if rest else values[:shared]),
        )
        keys = bands.keys([one, other])
        found += bool((keys[0] == keys[1]).any())
    assert found >= 0.98 * 300


def test_bands_seldom_join_what_is_far_apart():
    rng = np.random.default_rng(1)
    sets = [np.unique(rng.integers(1 << 63, size=60, dtype=np.uint64)) for _ in range(200)]
    keys = Bands(0.8).keys(sets)
    assert all(len(np.unique(column)) == len(sets) for column in keys.T)


@pytest.mark.parametrize("seed", range(2))
def test_what_goes_is_near_an_earlier_row_that_stays_and_what_stays_is_not(tmp_path, run, seed):
    rng = random.Random(seed)
    base = [sentence(rng, rng.randint(8, 60)) for _ in range(120)]
    texts = base + [reworded(rng, rng.choice(base), rng.randint(1, 4)) for _ in range(120)]
    rng.shuffle(texts)
    write_problems(tmp_path / "a.jsonl", [problem(str(i), text) for i, text in enumerate(texts)])
    result = curate(config(tmp_path, [tmp_path / "a.jsonl"], NEAR), run)

    kept: list[str] = []
    for text in texts:  # every pair compared
        if all(plain_jaccard(text, other) < 0.8 for other in kept):
            kept.append(text)
    found = [p.prompt[0]["content"] for p in read_problems(tmp_path / "out.jsonl")]
    # A pair right at the threshold is missed once in 200.
    assert len(set(found) ^ set(kept)) <= 2
    by_id = dict(zip(map(str, range(len(texts))), texts, strict=True))
    for line in lines(result.folder / "01-near_dedup.jsonl"):
        assert line["met"]["similarity"] == pytest.approx(
            plain_jaccard(by_id[line["id"]], by_id[line["met"]["id"]]), abs=1e-4
        )
        assert line["met"]["similarity"] >= 0.8
        assert int(line["met"]["id"]) < int(line["id"])


def test_signs_and_numbers_are_part_of_the_words(tmp_path, run):
    text = "how many of the {} apples does she have when {} are sold"
    write_problems(tmp_path / "a.jsonl", [problem("1", text.format(5, 3)), problem("2", text.format(50, 30))])
    curate(config(tmp_path, [tmp_path / "a.jsonl"], NEAR), run)
    assert len(read_problems(tmp_path / "out.jsonl")) == 2


def test_short_questions_are_near_only_when_they_are_equal(tmp_path, run):
    texts = ["Find x.", "find X", "Find y.", "x", "?", "!"]
    write_problems(tmp_path / "a.jsonl", [problem(str(i), text) for i, text in enumerate(texts)])
    curate(config(tmp_path, [tmp_path / "a.jsonl"], NEAR), run)
    assert [p.id for p in read_problems(tmp_path / "out.jsonl")] == ["0", "2", "3", "4", "5"]


def test_responses_to_one_question_stay_and_go_together(tmp_path, run):
    text = "the quick brown fox jumps over the lazy dog and runs home to its den at night"
    rows = [
        conversation("1", text, "a"),
        conversation("2", text.upper(), "b"),
        conversation("3", f"{text} again", "c"),
        conversation("4", f"{text} again", "d"),
        conversation("5", "something else entirely is asked here by nobody", "e"),
    ]
    write_conversations(tmp_path / "a.jsonl", rows)
    result = curate(config(tmp_path, [tmp_path / "a.jsonl"], NEAR), run)
    assert [c.id for c in read_conversations(tmp_path / "out.jsonl")] == ["1", "2", "5"]
    assert [line["met"]["id"] for line in lines(result.folder / "01-near_dedup.jsonl")] == ["1", "1"]


def test_many_questions_of_one_mould_do_not_slow_it_to_a_crawl_or_lose_rows(tmp_path, run):
    texts = [f"write a function that returns the sum of the list and adds {i} to it" for i in range(300)]
    assert plain_jaccard(*texts[10:12]) < 0.8
    write_problems(tmp_path / "a.jsonl", [problem(str(i), text) for i, text in enumerate(texts)])
    curate(config(tmp_path, [tmp_path / "a.jsonl"], NEAR), run)
    assert len(read_problems(tmp_path / "out.jsonl")) == 300
