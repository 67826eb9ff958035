"""Files of outputs, by the columns that people give them; and scoring that goes on where it stopped."""

import json

import pytest

from gppo.evaluate import load_evaluation, summarise
from gppo.evaluate.outputs import read_outputs
from gppo.evaluate.rescore import rescore
from gppo.types import UserError, Verdict


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_usual_names_of_columns(tmp_path):
    rows = [
        {"idx": 4, "question": "1+1?", "gt": "2", "response": ["a", "b"], "score": [True, False]},
        {"idx": 4, "question": "1+1?", "gt": "2", "response": "c", "score": 1, "finish_reason": "length", "tokens": 9},
        {"idx": 5, "question": "2+2?", "gt": 4.0, "response": "d"},
    ]
    found = read_outputs(write(tmp_path / "o.jsonl", rows))
    assert [(o.problem.id, o.sample, o.text, o.label) for o in found] == [
        ("4", 0, "a", True),
        ("4", 1, "b", False),
        ("4", 2, "c", True),
        ("5", 0, "d", None),
    ]
    assert [o.problem.ground_truth for o in found] == ["2", "2", "2", "4"]
    assert [(o.truncated, o.tokens) for o in found] == [(False, 0), (False, 0), (True, 9), (False, 0)]


def test_names_that_are_given(tmp_path):
    rows = [{"n": 1, "said": {"text": "x"}, "key": "7", "right": 0, "response": "not this one"}]
    columns = {"response": "said.text", "gold": "key", "label": "right", "id": "n"}
    [found] = read_outputs(write(tmp_path / "o.jsonl", rows), columns=columns)
    assert (found.problem.id, found.text, found.problem.ground_truth, found.label) == ("1", "x", "7", False)


def test_answers_of_a_benchmark_by_id_and_by_question(tmp_path):
    data = write(
        tmp_path / "aime.jsonl",
        [
            {"id": 60, "problem": "One  plus one?", "answer": "2"},
            {"id": 61, "problem": "Two plus two?", "answer": "4"},
        ],
    )
    rows = [
        {"id": 61, "response": "a"},
        {"id": "aime24/60", "response": "b"},
        {"question": "Two plus\ntwo?", "response": "c", "answer": "whatever"},
    ]
    found = read_outputs(write(tmp_path / "o.jsonl", rows), benchmark="aime24", data=data)
    assert [o.problem.ground_truth for o in found] == ["4", "2", "4"]
    assert [o.sample for o in found] == [0, 0, 1]
    with pytest.raises(UserError, match="row 1: no problem of the benchmark has the id 62"):
        read_outputs(write(tmp_path / "o.jsonl", [{"id": 62, "response": "a"}]), benchmark="aime24", data=data)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"gold": "1"}], r"row 1: no response, a text or a list of texts, under response or"),
        ([{"gold": "1", "response": []}], "name the column with --column response=NAME"),
        ([{"gold": "1", "response": [None]}], "no response"),
        ([{"response": "x"}], r"no reference answer under gold or .* \(it has response\)"),
        ([], "the file has no rows"),
    ],
)
def test_files_that_are_no_outputs(tmp_path, rows, words):
    with pytest.raises(UserError, match=words):
        read_outputs(write(tmp_path / "o.jsonl", rows))


class Judge:
    """Right where the response says so; notes what it saw and may fall over."""

    def __init__(self, falls_at=None):
        self.seen, self.falls_at = [], falls_at

    def __call__(self, cases):
        if self.falls_at is not None and len(self.seen) >= self.falls_at:
            raise KeyboardInterrupt
        self.seen += [rollout.text for _, rollout, _ in cases]
        return [
            Verdict("correct" if rollout.text.startswith("right") else "wrong", 0.0, rollout.text[-1])
            for _, rollout, _ in cases
        ]


def outputs(tmp_path, count=7):
    rows = [
        {"id": i // 2, "gold": "1", "response": f"{'right' if i % 3 else 'no'} {i}", "label": bool(i % 3)}
        for i in range(count)
    ]
    return read_outputs(write(tmp_path / "o.jsonl", rows))


def test_scores_and_agreement(tmp_path):
    found = rescore(outputs(tmp_path), Judge(), tmp_path, name="mine")
    assert (found.labelled, found.agreed) == (7, 7)
    saved = load_evaluation(tmp_path / "step-000000--mine.json")
    assert saved.problem_ids == ("0", "1", "2", "3")
    assert saved.correct_PK.tolist() == [[False, True], [True, False], [True, True], [False, False]]
    assert saved.valid_PK.tolist() == [[True, True]] * 3 + [[True, False]]  # the last problem has one response
    assert summarise(saved).score.avg == pytest.approx((0.5 + 0.5 + 1 + 0) / 4)


def test_a_truncated_response_is_never_correct(tmp_path):
    rows = [{"id": 1, "gold": "1", "response": "right 1", "truncated": cut} for cut in (True, False)]
    found = rescore(read_outputs(write(tmp_path / "o.jsonl", rows)), Judge(), tmp_path, name="mine")
    assert found.evaluation.correct_PK.tolist() == [[False, True]]
    assert found.evaluation.truncated_PK.tolist() == [[True, False]]
    assert found.evaluation.votes_PK.tolist() == [[-1, 0]]


def test_it_goes_on_where_it_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr("gppo.evaluate.rescore.BATCH", 2)
    whole = tmp_path / "whole"
    rescore(outputs(tmp_path), everything := Judge(), whole, name="mine")
    broken = Judge(falls_at=4)
    with pytest.raises(KeyboardInterrupt):
        rescore(outputs(tmp_path), broken, tmp_path / "parts", name="mine")
    rescore(outputs(tmp_path), rest := Judge(), tmp_path / "parts", name="mine")
    assert broken.seen + rest.seen == everything.seen
    for name in ("step-000000--mine.json", "step-000000--mine.results.jsonl"):
        assert (whole / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    rescore(outputs(tmp_path), again := Judge(), whole, name="mine", how="lenient")
    assert again.seen == everything.seen  # verdicts would differ
