import numpy as np
import pytest

from gppo.miniature.math_world import chain_problem, chain_problems, chain_terms
from gppo.miniature.teachers import CAREFUL, MISLED, Teacher
from gppo.miniature.world import UNSEEN_IN_RL, write_world
from gppo.records import read_conversations, read_problems
from gppo.verify import compare, extract_answer, format_kept, split_thinking


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_problem_by_hand() -> None:
    problem = chain_problem((3, 7, 9))
    assert problem.prompt[0]["content"] == "3+7+9=?"
    assert problem.ground_truth == "19"
    assert problem.difficulty == "2 steps"
    assert problem.id == "chain-3-7-9"


def test_levels_take_turns_and_the_misconceived_share_holds() -> None:
    problems = chain_problems(3, 200, [2, 4], misconceived_share=0.75)
    assert [len(chain_terms(p)) for p in problems[:4]] == [3, 5, 3, 5]
    share = np.mean([7 in chain_terms(p)[1:] for p in problems])
    assert share == pytest.approx(0.75, abs=0.1)
    assert all(7 not in chain_terms(p)[:1] for p in problems), "the first term is not added to anything"
    assert len({p.id for p in problems}) == 200


def test_asking_for_more_chains_than_there_are_is_an_error() -> None:
    with pytest.raises(ValueError, match="not enough different chains of 1 steps"):
        chain_problems(0, 100, [1], misconceived_share=0.0)


def test_the_same_seed_gives_the_same_problems_and_another_does_not() -> None:
    def ids(seed: int) -> list[str]:
        return [p.id for p in chain_problems(seed, 20, [3])]

    assert ids(1) == ids(1) != ids(2)


def test_a_careful_teacher_writes_every_step() -> None:
    text = Teacher("perfect").solve(chain_problem((3, 7, 9)), rng())
    assert text == "<think>3+7=10\n10+9=19</think>\\boxed{19}"


def test_the_misconception_is_always_the_same() -> None:
    believer = Teacher("believer", misconception=1.0)
    assert believer.solve(chain_problem((3, 7, 9, 7)), rng()) == "<think>3+7=9\n9+9=18\n18+7=24</think>\\boxed{24}"
    assert believer.solve(chain_problem((3, 9)), rng()) == "<think>3+9=12</think>\\boxed{12}"


@pytest.mark.parametrize(("teacher", "low", "high"), [(CAREFUL, 0.9, 1.0), (MISLED, 0.0, 0.25)])
def test_how_often_teachers_are_right(teacher: Teacher, low: float, high: float) -> None:
    problems, source = chain_problems(5, 300, [2, 3, 4], misconceived_share=1.0), rng()
    right = [
        compare(p.ground_truth, extract_answer(split_thinking(teacher.solve(p, source)).answer) or "")[0]
        for p in problems
    ]
    assert low <= np.mean(right) <= high


def test_untidy_solutions_break_the_format() -> None:
    untidy, source = Teacher("untidy", untidy=1.0), rng()
    texts = [untidy.solve(p, source) for p in chain_problems(6, 50, [3])]
    assert not any(format_kept(text) for text in texts)
    assert {"boxed" in text for text in texts} == {True, False}


def test_the_world_has_what_curation_must_find(tmp_path) -> None:
    write_world(tmp_path, seed=1, exam=40, traces=600, exercises=200)
    exam = {p.prompt[0]["content"] for p in read_problems(tmp_path / "heldout.jsonl")}
    forum = read_conversations(tmp_path / "forum.jsonl")
    tutor = read_conversations(tmp_path / "tutor.jsonl")
    said = {c.messages[0]["content"] + c.messages[1]["content"] for c in tutor}
    assert sum(c.id.startswith("forum-leak") and c.messages[0]["content"] in exam for c in forum) == 10
    assert sum(c.messages[0]["content"] + c.messages[1]["content"] in said for c in forum) >= 10
    levels = {p.difficulty for p in read_problems(tmp_path / "exercises.jsonl")}
    assert levels.isdisjoint(UNSEEN_IN_RL)
    assert set(UNSEEN_IN_RL) <= {p.difficulty for p in read_problems(tmp_path / "heldout.jsonl")}
