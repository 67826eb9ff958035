"""What the arms of the experiments on data really learn from: their curation, run as the experiments run it."""

from collections import Counter
from pathlib import Path

import pytest

from gppo.curate import curate
from gppo.records import Conversation, read_conversations, read_problems
from gppo.reproduce.experiment import find_experiment, read_experiment
from gppo.reproduce.units import Plan, plan_units
from gppo.reproduce.work import write_world
from gppo.run import RunFolder


def planned(name: str, folder: Path) -> Plan:
    plan = plan_units(read_experiment(find_experiment(name)), folder, [5])
    for world in plan.worlds:
        world.folder.parent.mkdir(parents=True, exist_ok=True)
        write_world(world)
    return plan


def curated(plan: Plan) -> dict[str, list[Conversation]]:
    """The rows of each arm."""
    found = {}
    for unit in plan.units:
        run = RunFolder.create(unit.folder, "")
        for config in unit.recipe.curate or []:
            curate(config, run, seed=unit.seed)
        assert unit.recipe.sft is not None
        found[unit.arm] = read_conversations(unit.recipe.sft.data)
    return found


def test_each_arm_keeps_the_wrong_answers_that_it_says(tmp_path: Path) -> None:
    rows = curated(planned("correctness-by-difficulty", tmp_path))
    kinds = {arm: Counter((difficulty(row), is_right(row)) for row in found) for arm, found in rows.items()}
    easy_right, easy_wrong, hard_right, hard_wrong = (
        (label, right) for label in ("2 steps", "5 steps") for right in (True, False)
    )
    everything = kinds["mixed"]
    assert set(everything) == {easy_right, easy_wrong, hard_right, hard_wrong}
    assert min(everything.values()) > 25
    for arm, gone in (
        ("paper", {easy_wrong}),
        ("only-true", {easy_wrong, hard_wrong}),
        ("easy-wrong", {hard_wrong}),
    ):
        assert kinds[arm] == {kind: count for kind, count in everything.items() if kind not in gone}


@pytest.mark.parametrize(
    ("name", "budget", "sources"),
    [
        ("top-k-math", 1200, {"top-1": 1, "top-2": 2, "top-4": 4, "all": 6}),
        ("top-k-code", 480, {"top-1": 1, "top-2": 2, "all": 5}),
    ],
)
def test_each_arm_has_as_many_rows_of_its_best_sources_and_none_of_the_exam(
    name: str, budget: int, sources: dict[str, int], tmp_path: Path
) -> None:
    plan = planned(name, tmp_path)
    exam = {problem.prompt[0]["content"] for problem in read_problems(plan.worlds[0].folder / "heldout.jsonl")}
    rows = curated(plan)
    assert set(rows) == set(sources)
    for arm, found in rows.items():
        best = {f"source-{number}": budget // sources[arm] for number in range(1, sources[arm] + 1)}
        assert Counter(row.source for row in found) == best
        assert not exam & {row.messages[0]["content"] for row in found}


def difficulty(row: Conversation) -> str:
    return str(row.extra["difficulty"])


def is_right(row: Conversation) -> bool:
    digits = row.messages[0]["content"].removesuffix("=?").split("+")
    return row.messages[-1]["content"].endswith(f"\\boxed{{{sum(map(int, digits))}}}")
