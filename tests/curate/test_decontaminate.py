import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.curate.decontaminate import build_index, hits_of, meeting_of
from gppo.types import Problem

DATA = Path(os.environ.get("GPPO_DATA", Path(__file__).parents[3] / "shared" / "data"))
real_data = pytest.mark.skipif(not (DATA / "aime24").is_dir(), reason=f"no data at {DATA}; set GPPO_DATA")


def problem(text, id="p"):
    return Problem(id=id, prompt=({"role": "user", "content": text},), ability="math", ground_truth="1")


def find_hits(text, index):
    meeting = meeting_of(text, index)
    return hits_of(meeting, index) if meeting else []


NINE = "one two three four five six seven eight nine"


def test_nine_words_in_a_row_are_a_hit_and_eight_are_not():
    index = build_index({"exam": [problem(f"zero {NINE} ten")]})
    (hit,) = find_hits(f"alpha {NINE} beta", index)
    assert (hit.evaluation_set, hit.problem_id, hit.gram) == ("exam", "p", NINE)
    assert hit.overlap == pytest.approx(1 / 3)  # eleven words have three 9-grams
    assert find_hits("alpha one two three four five six seven eight beta nine", index) == []


def test_a_copy_has_overlap_one_whatever_its_case_and_punctuation():
    index = build_index({"exam": [problem(f"zero {NINE} ten")]})
    (hit,) = find_hits("ZERO: one, two, three, four,\nfive six seven eight nine TEN?", index)
    assert hit.overlap == 1


def test_the_length_of_the_gram_is_free():
    index = build_index({"exam": [problem(NINE)]}, ngram=3)
    assert find_hits("xx four five six", index)[0].gram == "four five six"
    assert find_hits("xx four five xx six", index) == []


def test_signs_decide():
    index = build_index({"exam": [problem("what do you get for 3 + 5 - 7 + 2 - 1 in the end")]})
    assert find_hits("what do you get for 3 + 5 - 7 + 2 - 1 in the end", index)
    assert find_hits("what do you get for 3 - 5 + 7 - 2 + 1 in the end", index) == []


def test_short_problems_need_all_their_words_and_no_other():
    index = build_index({"exam": [problem("What is $2+3$?")]})
    (hit,) = find_hits("what is 2 + 3", index)
    assert (hit.gram, hit.overlap) == ("what is 2 +3", 1)
    assert find_hits("what is 2 + 3 + 4", index) == []
    assert find_hits("what is 2 - 3", index) == []
    assert find_hits(f"What is 2+3? {NINE}", index) == []


def test_a_problem_of_exactly_n_words_is_found_inside_a_longer_one_and_of_fewer_is_not():
    eight = NINE.rsplit(" ", 1)[0]
    assert find_hits(f"xx {NINE} xx", build_index({"exam": [problem(NINE)]}))
    assert find_hits(f"xx {eight} xx", build_index({"exam": [problem(eight)]})) == []
    assert find_hits(eight, build_index({"exam": [problem(eight)]}))


def test_problems_without_a_word_do_not_match_each_other():
    index = build_index({"exam": [problem("???")]})
    assert find_hits("!!!", index) == []
    assert len(find_hits(" ??? ", index)) == 1


def test_each_evaluation_problem_that_is_met_is_named_once():
    index = build_index({"a": [problem(NINE, "1"), problem(f"{NINE} ten", "2")], "b": [problem(f"yy {NINE}", "1")]})
    hits = find_hits(f"{NINE} ten {NINE}", index)
    assert sorted((hit.evaluation_set, hit.problem_id, hit.overlap) for hit in hits) == [
        ("a", "1", 1.0),
        ("a", "2", 1.0),
        ("b", "1", 0.5),
    ]


def test_a_stop_gram_is_no_hit_by_itself_and_another_gram_or_a_copy_is():
    index = build_index(
        {"exam": [problem(f"alpha beta gamma {NINE} delta epsilon zeta eta theta iota kappa lambda mu nu xi")]}
    )
    phrase = meeting_of(f"other words {NINE} and more", index)
    assert hits_of(phrase, index)
    assert hits_of(phrase, index, {NINE}) == []
    (longer,) = hits_of(meeting_of(f"other gamma {NINE} and more", index), index, {NINE})
    assert longer.gram == "gamma one two three four five six seven eight"
    (copy,) = hits_of(
        meeting_of(f"beta gamma! not {NINE} delta epsilon zeta", index),
        index,
        {NINE, *_grams(NINE, "delta epsilon zeta")},
    )
    assert copy.overlap == pytest.approx(4 / 15)


def _grams(*parts):
    tokens = " ".join(parts).split()
    return [" ".join(tokens[i : i + 9]) for i in range(len(tokens) - 8)]


def test_only_what_the_user_asks_counts():
    turns = ({"role": "system", "content": NINE}, {"role": "user", "content": "short"})
    index = build_index({"exam": [Problem(id="p", prompt=turns, ability="math", ground_truth="1")]})
    assert find_hits(NINE, index) == []
    assert find_hits("Short.", index)


word = st.sampled_from(["a", "b", "c", "d", "7", "+2"])


@given(st.lists(word, max_size=14), st.lists(word, max_size=14), st.integers(2, 5))
def test_hits_are_exactly_shared_runs_of_n_words(training, evaluation, n):
    training, evaluation = ["q", *training], ["q", *evaluation]

    def runs(tokens):
        return {tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)}

    index = build_index({"exam": [problem(" ".join(evaluation))]}, ngram=n)
    hits = find_hits(" ".join(training), index)
    if len(evaluation) < n:
        assert bool(hits) == (training == evaluation)
    else:
        shared = runs(training) & runs(evaluation)
        assert bool(hits) == bool(shared)
        if hits:
            assert tuple(hits[0].gram.split()) in shared
            assert hits[0].overlap == len(shared) / len(runs(evaluation))


@given(st.lists(st.text("abc 12+", max_size=60), max_size=6), st.data())
def test_a_planted_copy_is_always_found(texts, data):
    index = build_index({"exam": [problem(text, str(i)) for i, text in enumerate(texts)]})
    for i, text in enumerate(texts):
        planted = data.draw(st.sampled_from([text, text.upper(), f"  {text}\n"]))
        assert str(i) in {hit.problem_id for hit in find_hits(planted, index)}


def read(path):
    text = (DATA / path).read_text()
    rows = json.loads(text) if path.endswith(".json") else [json.loads(line) for line in text.splitlines()]
    return [problem(row["problem"], str(i)) for i, row in enumerate(rows)]


@real_data
def test_older_aime_problems_share_boilerplate_with_aime24_and_no_problem():
    index = build_index({"aime24": read("aime24/test.jsonl")})
    hits = [find_hits(old.prompt[0]["content"], index) for old in read("aime_1983_2023/aime.json")]
    assert len(hits) == 975
    assert sum(map(bool, hits)) == 243
    assert max(hit.overlap for of_one in hits for hit in of_one) < 0.5


@real_data
def test_two_copies_of_one_exam_find_each_other():
    ours, theirs = read("aime24/test.jsonl"), read("aime24/nemo_aime24.jsonl")
    index = build_index({"aime24": ours})
    overlaps = [max((hit.overlap for hit in find_hits(p.prompt[0]["content"], index)), default=0) for p in theirs]
    assert sum(overlap > 0 for overlap in overlaps) == 30
    assert sum(overlap > 0.5 for overlap in overlaps) >= 28


@real_data
def test_short_problems_of_math500_are_found_by_exact_match():
    problems = read("math500/test.jsonl")
    index = build_index({"math500": problems})
    assert sum(map(len, index.short.values())) == 17
    for p in problems:
        assert p.id in {hit.problem_id for hit in find_hits(p.prompt[0]["content"].upper(), index)}
