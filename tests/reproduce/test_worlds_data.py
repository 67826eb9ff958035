"""The worlds of the experiments on data: what their teachers and sources do wrong, and nothing beside it."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from gppo.records import Conversation, read_conversations, read_problems
from gppo.reproduce.worlds import WORLDS
from gppo.types import Problem

DATA_WORLDS = ("answers", "code_sources", "math_sources", "teachers")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("worlds")
    for name in DATA_WORLDS:
        WORLDS[name](folder / name, 5)
    return {name: folder / name for name in DATA_WORLDS}


def wrong_steps(row: Conversation) -> list[tuple[int, int, int]]:
    """(number from 0, term, how far off) of each written step whose sum is not right."""
    steps = re.findall(r"(\d+)\+(\d+)=(\d+)", row.messages[-1]["content"])
    found = [(i, int(b), int(c) - int(a) - int(b)) for i, (a, b, c) in enumerate(steps)]
    return [step for step in found if step[2]]


def terms(row: Conversation | Problem) -> list[int]:
    text = row.messages[0]["content"] if isinstance(row, Conversation) else row.prompt[0]["content"]
    return [int(digit) for digit in text.removesuffix("=?").split("+")]


def is_right(row: Conversation) -> bool:
    return row.messages[-1]["content"].endswith(f"</think>\\boxed{{{sum(terms(row))}}}")


def share(flags: list[bool]) -> float:
    return sum(flags) / len(flags)


def test_the_four_teachers_answer_the_same_questions_and_none_of_the_exam(worlds: dict[str, Path]) -> None:
    folder = worlds["teachers"]
    names = ("careful", "slipping", "misled", "untidy")
    asked = [[terms(row) for row in read_conversations(folder / f"{name}.jsonl")] for name in names]
    assert asked[0] == asked[1] == asked[2] == asked[3]
    exam = [terms(problem) for problem in read_problems(folder / "heldout.jsonl")]
    assert len(exam) == 150
    assert not {tuple(each) for each in exam} & {tuple(each) for each in asked[0]}


def test_slipping_and_misled_are_wrong_as_often_and_in_different_ways(worlds: dict[str, Path]) -> None:
    rows = {
        name: read_conversations(worlds["teachers"] / f"{name}.jsonl") for name in ("careful", "slipping", "misled")
    }
    right = {name: share([is_right(row) for row in found]) for name, found in rows.items()}
    assert right["careful"] > 0.94
    assert right["slipping"] == pytest.approx(0.40, abs=0.05)
    assert right["misled"] == pytest.approx(right["slipping"], abs=0.05)
    misled = [step for row in rows["misled"] for step in wrong_steps(row)]
    assert share([(term, off) == (7, -1) for _, term, off in misled]) > 0.95
    slips = Counter(off for row in rows["slipping"] for _, _, off in wrong_steps(row))
    assert set(slips) == {-2, -1, 1, 2}
    assert max(slips.values()) < 1.3 * min(slips.values())  # one in four each


def test_the_untidy_teacher_adds_up_as_well_as_the_careful_one(worlds: dict[str, Path]) -> None:
    rows = read_conversations(worlds["teachers"] / "untidy.jsonl")
    results = [int(re.findall(r"\d+", row.messages[-1]["content"])[-1]) for row in rows]
    assert share([result == sum(terms(row)) for result, row in zip(results, rows, strict=True)]) > 0.94
    assert share(["<think>" in row.messages[-1]["content"] for row in rows]) == pytest.approx(0.5, abs=0.05)


def test_a_wrong_answer_has_one_wrong_step_and_a_late_one_where_the_problem_is_hard(worlds: dict[str, Path]) -> None:
    rows = read_conversations(worlds["answers"] / "answers.jsonl")
    wrong_at: dict[int, Counter[int]] = {2: Counter(), 5: Counter()}
    for row in rows:
        steps, additions = wrong_steps(row), len(terms(row)) - 1
        assert len(steps) == (0 if is_right(row) else 1)
        wrong_at[additions].update(number for number, _, off in steps if abs(off) <= 2)
    assert set(wrong_at[2]) == {0, 1}
    assert set(wrong_at[5]) == {3, 4}
    hard = [row for row in rows if len(terms(row)) == 6]
    easy = [row for row in rows if len(terms(row)) == 3]
    assert share([is_right(row) for row in easy]) == pytest.approx(0.7, abs=0.06)
    assert share([is_right(row) for row in hard]) == pytest.approx(0.1, abs=0.05)
    assert {(row.extra["pass_rate"], row.extra["fail_rate"]) for row in easy} == {(0.7, 0.3)}
    assert {(row.extra["pass_rate"], row.extra["fail_rate"]) for row in hard} == {(0.1, 0.9)}


def test_answers_ask_nothing_of_the_exam_which_is_half_hard(worlds: dict[str, Path]) -> None:
    exam = read_problems(worlds["answers"] / "heldout.jsonl")
    assert Counter(problem.extra["difficulty"] for problem in exam) == {"2 steps": 80, "5 steps": 80}
    asked = {tuple(terms(problem)) for problem in exam}
    assert len(asked) == 160
    assert not asked & {tuple(terms(row)) for row in read_conversations(worlds["answers"] / "answers.jsonl")}


def test_sources_of_chains_get_worse_and_each_likes_three_digits(worlds: dict[str, Path]) -> None:
    folder = worlds["math_sources"]
    exam = {tuple(terms(problem)) for problem in read_problems(folder / "heldout.jsonl")}
    assert len(exam) == 160
    right, liked = [], set()
    for number in range(1, 7):
        rows = read_conversations(folder / f"source-{number}.jsonl")
        right.append(share([is_right(row) for row in rows]))
        digits = Counter(digit for row in rows for digit in terms(row))
        best = digits.most_common(3)
        # Three terms in four, and a third of the rest: 0.75 + 0.25 / 3; leaked rows like nothing.
        assert sum(count for _, count in best) / digits.total() == pytest.approx(0.83, abs=0.03)
        assert set(digits) == set(range(1, 10))
        liked.add(frozenset(digit for digit, _ in best))
        assert [tuple(terms(row)) in exam for row in rows[::50]] == [True] * 28
    assert right == sorted(right, reverse=True)
    assert right[0] > 0.93
    assert right[-1] < 0.2
    assert len(liked) > 1


def test_sources_of_programs_misread_more_and_more(worlds: dict[str, Path]) -> None:
    folder = worlds["code_sources"]
    exam = read_problems(folder / "heldout.jsonl")
    known = {problem.prompt[0]["content"] for problem in exam}
    assert len(known) == 80
    for number, rate in enumerate((0.02, 0.1, 0.3, 0.6, 0.9), start=1):
        rows = read_conversations(folder / f"source-{number}.jsonl")
        assert len({row.messages[0]["content"] for row in rows}) == len(rows) == 600
        assert sum(row.messages[0]["content"] in known for row in rows) == 12
        misread = [not passes_all(row) for row in rows]
        assert share(misread) == pytest.approx(rate, abs=0.05)


def passes_all(row: Conversation) -> bool:
    """Whether the program gives what the tests expect; its text is made by the world, never by a model."""
    namespace: dict = {}
    exec(row.messages[-1]["content"].split("```")[1], namespace)
    tests = json.loads(row.extra["ground_truth"])
    cases = zip(tests["inputs"], tests["outputs"], strict=True)
    return all(namespace["f"](*map(json.loads, given.split("\n"))) == json.loads(expected) for given, expected in cases)


@pytest.mark.parametrize("name", DATA_WORLDS)
def test_a_seed_gives_the_same_bytes_again(name: str, worlds: dict[str, Path], tmp_path: Path) -> None:
    WORLDS[name](tmp_path, 5)
    written = {path.name: path.read_bytes() for path in worlds[name].iterdir()}
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == written


def test_another_seed_gives_other_problems(worlds: dict[str, Path], tmp_path: Path) -> None:
    WORLDS["answers"](tmp_path, 6)
    for path in tmp_path.iterdir():
        assert path.read_bytes() != (worlds["answers"] / path.name).read_bytes()
