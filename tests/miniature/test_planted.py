"""The demo's own sources and recipe: everything planted is found, nothing else goes, and what is trained on stays."""

import pytest

from gppo.config import require
from gppo.curate import curate
from gppo.miniature.demo import demo_recipe
from gppo.miniature.planted import RULES, found_planted
from gppo.miniature.world import write_world
from gppo.records import read_problems
from gppo.run import RunFolder


@pytest.mark.parametrize("seed", range(2))
def test_everything_planted_is_found_and_nothing_else(tmp_path, seed):
    run = RunFolder.create(tmp_path / "run", "name: test\n")
    recipe = demo_recipe(run.path, seed)
    write_world(run.path / "world", seed)
    (config,) = [config for config in require(recipe, "curate") if config.name == "RL code"]
    config = config.model_copy(update={"steps": config.steps[:-1]})  # all but the tests of programs, which are run
    result = curate(config, run, seed=seed)
    planted = read_problems(run.path / "world" / "mirror.jsonl")
    found = {one.rule: one for one in found_planted(result, planted)}
    assert set(found) == set(RULES.values())
    assert [found[rule].planted for rule in RULES.values()] == [120, 120, 60]
    for rule, least in (("exact duplicate", 0.99), ("near duplicate", 0.95), ("meets an evaluation problem", 0.99)):
        assert found[rule].recall >= least
        assert found[rule].precision >= least
    kata, kept = read_problems(run.path / "world" / "kata.jsonl"), read_problems(config.output)
    assert [p for p in kept if not p.id.startswith("planted")] == kata


def test_what_is_missed_and_what_goes_by_mistake_is_counted(tmp_path):
    run = RunFolder.create(tmp_path / "run", "name: test\n")
    recipe = demo_recipe(run.path, 0)
    write_world(run.path / "world", 0)
    (config,) = [config for config in require(recipe, "curate") if config.name == "RL code"]
    steps = [step for step in config.steps if step.step not in ("exact_dedup", "faulty_tests")]
    loose = [step.model_copy(update={"threshold": 0.7}) if step.step == "near_dedup" else step for step in steps]
    result = curate(config.model_copy(update={"steps": loose}), run)
    planted = read_problems(run.path / "world" / "mirror.jsonl")
    found = {one.rule: one for one in found_planted(result, planted)}
    assert found["exact duplicate"].recall == 0
    assert found["near duplicate"].precision < 0.5
    assert found["near duplicate"].recall >= 0.95
