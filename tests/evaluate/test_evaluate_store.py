import json

import numpy as np
import pytest

from gppo.evaluate import load_evaluation, load_evaluations, save_evaluation
from gppo.types import Evaluation, SamplingSettings, UserError


def made(name="heldout T=1.0 top-p 0.95", step=60, k=4) -> Evaluation:
    rng = np.random.default_rng(step)
    correct_PK = rng.random((3, k)) < 0.5
    return Evaluation(
        name=name,
        step=step,
        sampling=SamplingSettings(temperature=1.0, top_p=0.95, max_tokens=99),
        problem_ids=("a", "b", "ü"),
        difficulty=("easy", "", "hard"),
        correct_PK=correct_PK,
        valid_PK=rng.random((3, k)) < 0.9,
        lengths_PK=rng.integers(1, 99, size=(3, k)),
        truncated_PK=rng.random((3, k)) < 0.1,
    )


def test_round_trip(tmp_path):
    saved = made()
    path = save_evaluation(tmp_path / "evaluations", saved)
    assert path.name == "step-000060--heldout-T-1.0-top-p-0.95.json"
    loaded = load_evaluation(path)
    for field in ("name", "step", "sampling", "problem_ids", "difficulty"):
        assert getattr(loaded, field) == getattr(saved, field)
    for field in ("correct_PK", "valid_PK", "lengths_PK", "truncated_PK"):
        assert getattr(loaded, field).dtype == getattr(saved, field).dtype
        np.testing.assert_array_equal(getattr(loaded, field), getattr(saved, field))


def test_file_holds_the_summary_and_no_nan(tmp_path):
    path = save_evaluation(tmp_path, made(k=1))
    content = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    summary = content["summary"]
    assert summary["se_sampling"] is None  # one sample a problem
    assert set(summary["by_difficulty"]) == {"easy", "hard"}
    assert summary["pass_at"]["1"] == summary["avg"]


def test_file_holds_the_paired_difference_to_the_first(tmp_path):
    def since(step, correct, ids=("a", "b")) -> dict | None:
        correct_PK = np.asarray(correct, dtype=bool)
        ones_PK = np.ones_like(correct_PK)
        one = Evaluation(
            "x", step, SamplingSettings(), ids, ("easy", "hard"), correct_PK, ones_PK, ones_PK.astype(int), ~ones_PK
        )
        return json.loads(save_evaluation(tmp_path, one).read_text())["since_first"]

    assert since(0, [[0, 0], [0, 1]]) is None
    assert since(30, [[0, 1], [0, 1]])["mean"] == pytest.approx(0.25)
    later = since(60, [[1, 1], [1, 1]])
    assert (later["step"], later["mean"], later["problems"]) == (0, 0.75, 2)
    assert later["se"] == pytest.approx(0.25)  # differences 1 and 1/2
    assert later["by_difficulty"]["hard"]["mean"] == pytest.approx(0.5)
    assert later["by_difficulty"]["hard"]["se"] is None
    assert since(90, [[1, 1], [1, 1]], ids=("a", "c")) is None


def test_saving_again_replaces_and_leaves_nothing_else(tmp_path):
    save_evaluation(tmp_path, made())
    path = save_evaluation(tmp_path, made())
    assert list(tmp_path.iterdir()) == [path]


def test_folder_is_read_in_order(tmp_path):
    for step, name in [(60, "b"), (0, "z"), (60, "a")]:
        save_evaluation(tmp_path, made(name, step))
    assert [(one.step, one.name) for one in load_evaluations(tmp_path)] == [(0, "z"), (60, "a"), (60, "b")]
    assert load_evaluations(tmp_path / "missing") == []


def test_two_names_with_one_file_name_are_refused(tmp_path):
    save_evaluation(tmp_path, made("T=1"))
    with pytest.raises(UserError, match="already holds the evaluation 'T=1'"):
        save_evaluation(tmp_path, made("T 1"))


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "x"}', '{"name": "x", "step": 0, "sampling": {"hot": 1}}'])
def test_broken_files_are_named(tmp_path, content):
    path = tmp_path / "step-000000--x.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"step-000000--x\.json"):
        load_evaluations(tmp_path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_evaluation(tmp_path / "none.json")
