"""Tables for papers: the numbers in them, and that each form can be read by what reads it."""

import csv
import io

import numpy as np
import pytest

from gppo.evaluate.sheets import Sheet, comparison_sheet, csv_text, latex, markdown, p_value, score_sheet, write_sheet
from gppo.types import Evaluation, SamplingSettings


def evaluation(name, correct, lengths=None, votes=None) -> Evaluation:
    correct_PK = np.asarray(correct, dtype=bool)
    return Evaluation(
        name=name,
        step=0,
        sampling=SamplingSettings(),
        problem_ids=tuple(f"p{i}" for i in range(len(correct_PK))),
        difficulty=("",) * len(correct_PK),
        correct_PK=correct_PK,
        valid_PK=np.ones_like(correct_PK),
        lengths_PK=np.full(correct_PK.shape, 100) if lengths is None else np.asarray(lengths),
        truncated_PK=np.zeros_like(correct_PK),
        votes_PK=None if votes is None else np.asarray(votes),
    )


FIRST = [evaluation("aime24 T=0.6", [[1, 0], [0, 0], [1, 1], [1, 1]], [[10, 20], [30, 40], [10, 10], [10, 10]],
                    [[0, 1], [0, 0], [0, 0], [0, 0]])]  # fmt: skip
SECOND = [evaluation("aime24 T=0.6", [[1, 1], [1, 1], [1, 1], [1, 1]]), evaluation("other", [[1]])]


def test_scores():
    [row] = score_sheet(FIRST).rows
    cells = dict(zip(score_sheet(FIRST).headings, row, strict=True))
    assert (cells["set"], cells["problems"], cells["k"]) == ("aime24 T=0.6", "4", "2")
    assert cells["avg@k"] == "62.5"
    assert cells["pass@k"] == "75.0"
    assert cells["maj@k"] == "62.5"  # a tie on the first question
    assert cells["SE questions"] == f"{100 * np.std([0.5, 0, 1, 1], ddof=1) / 2:.1f}"
    assert cells["SE samples"] == "12.5"  # sqrt(0.25 / 1) / 4
    assert (cells["tokens"], cells["correct"], cells["wrong"]) == ("18", "10", "30")
    assert cells["cut"] == "0.0"


def test_programs_have_no_majority_and_uncounted_tokens_no_length():
    sheet = score_sheet([evaluation("code", [[1, 0]], [[0, 0]])])
    cells = dict(zip(sheet.headings, sheet.rows[0], strict=True))
    assert cells["maj@k"] == cells["tokens"] == cells["95 % CI"] == cells["SE questions"] == "–"


def test_csv_has_every_number():
    [row] = csv.DictReader(io.StringIO(csv_text(score_sheet(FIRST))))
    assert float(row["avg"]) == 0.625
    assert float(row["pass@1"]) == 0.625
    assert float(row["pass@2"]) == 0.75
    assert float(row["wrong_tokens_mean"]) == 30
    assert float(row["ci_low"]) <= 0.625 <= float(row["ci_high"])
    [empty] = csv.DictReader(io.StringIO(csv_text(score_sheet([evaluation("x", [[1]])]))))
    assert empty["se_question"] == ""


def test_a_comparison_of_what_both_have():
    sheet = comparison_sheet(FIRST, SECOND, ("base", "trained"))
    assert sheet.title == "trained against base"
    [row] = sheet.rows
    cells = dict(zip(sheet.headings, row, strict=True))
    assert (cells["base"], cells["trained"], cells["difference"]) == ("62.5", "100.0", "+37.5")
    assert cells["p"] == "0.500"  # two questions moved: of four sign patterns two are as far out
    assert (cells["better"], cells["worse"]) == ("2", "0")
    assert comparison_sheet(FIRST, SECOND[1:]).rows == []


@pytest.mark.parametrize(("p", "text"), [(0.0004, "<0.001"), (0.001, "0.001"), (0.0312, "0.031"), (float("nan"), "–")])
def test_p_values(p, text):
    assert p_value(p) == text


def test_signs_that_mean_something_are_escaped():
    sheet = Sheet("50 % & more", ("set", "a_b"), [("x|y_1 #2", "±1")], "note", [])
    assert markdown(sheet).splitlines()[2] == r"| x\|y_1 #2 | ±1 |"
    text = latex(sheet)
    assert r"x|y\_1 \#2 & $\pm$1 \\" in text
    assert r"\caption{50 \% \& more. note}" in text


def test_files(tmp_path):
    paths = write_sheet(score_sheet(FIRST), tmp_path, "table")
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv"]
    lines = paths[0].read_text().splitlines()
    assert lines[0].count("|") == lines[1].count("|") == lines[2].count("|")
    assert lines[1].startswith("| --- | ---: |")
    tex = paths[1].read_text()
    rows = [line for line in tex.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in rows} == {len(score_sheet(FIRST).headings) - 1}
    assert tex.count(r"\begin{") == tex.count(r"\end{")
