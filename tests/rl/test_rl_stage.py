"""RL as a recipe asks for it."""

import logging
import os
import signal
import threading
import time

import pytest
from rl_builders import copy_of, same_weights, sums, taught_policy

from gppo.config import Recipe
from gppo.evaluate import load_evaluations
from gppo.records import write_problems
from gppo.rl.stage import run_rl
from gppo.run import RunFolder
from gppo.run.interrupt import Interrupted
from gppo.types import UserError


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return taught_policy(tmp_path_factory.mktemp("sft") / "run")


@pytest.fixture
def recipe(tmp_path):
    """A recipe with two small files of problems; recipe(key=value, ...) changes its rl section."""
    write_problems(tmp_path / "train.jsonl", sums(1, 12))
    write_problems(tmp_path / "test.jsonl", sums(2, 5))

    def recipe(**rl):
        small = {
            "stages": [{"name": "math", "data": tmp_path / "train.jsonl", "steps": 3}],
            "prompts_per_step": 4,
            "group_size": 4,
            "mini_batch_prompts": 2,
            "learning_rate": 1e-3,
            "max_prompt_tokens": 32,
            "max_response_tokens": 32,
            "save_every": 2,
            "evaluate_every": 2,
        }
        evaluate = {
            "sets": [{"name": "heldout", "data": tmp_path / "test.jsonl", "limit": 4}],
            "sampling": [{"temperature": 1.0, "top_p": 1.0, "k": 2}, {"temperature": 0, "k": 1}],
            "max_response_tokens": 32,
        }
        model = {"tiny": {"hidden_size": 32, "layers": 2, "heads": 2, "kv_heads": 1}, "tokenizer": "bytes"}
        return Recipe.model_validate({"name": "x", "model": model, "rl": small | rl, "evaluate": evaluate})

    return recipe


def started(recipe, folder, taught):
    policy, run = copy_of(taught), RunFolder.create(folder, "name: x\n")
    run_rl(recipe, run, policy)
    return policy, run


def test_evaluations_come_before_in_between_and_after(recipe, tmp_path, taught):
    _, run = started(recipe(), tmp_path / "run", taught)
    found = [(e.step, e.name, e.correct_PK.shape) for e in load_evaluations(run.evaluations)]
    assert found == [(s, name, (4, k)) for s in (0, 2, 3) for name, k in (("T=1", 2), ("greedy", 1))]


def test_an_interrupted_run_with_a_reference_ends_as_a_whole_one(recipe, tmp_path, taught):
    """The reference is the recipe's model, not what the checkpoint puts into the policy."""
    asked = recipe(kl={"beta": 0.5}, stages=[{"name": "math", "data": tmp_path / "train.jsonl", "steps": 8}])
    whole, whole_run = started(asked, tmp_path / "whole", taught)
    metrics = tmp_path / "parts" / "metrics.jsonl"

    def interrupt():
        while not (metrics.exists() and '"step": 2' in metrics.read_text()):
            time.sleep(0.002)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(Interrupted):
        started(asked, tmp_path / "parts", taught)
    thread.join()
    policy, run = started(asked, tmp_path / "parts", taught)
    assert same_weights(policy, whole)
    assert [line["reward_mean"] for line in run.read_metrics("rl")] == [
        line["reward_mean"] for line in whole_run.read_metrics("rl")
    ]


def test_one_update_a_batch_is_pointed_out(recipe, tmp_path, taught, caplog):
    short = [{"name": "math", "data": tmp_path / "train.jsonl", "steps": 1}]
    with caplog.at_level(logging.WARNING):
        started(recipe(stages=short, mini_batch_prompts=4), tmp_path / "one", taught)
    assert "stage 'math': one update per batch" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        started(recipe(stages=short, mini_batch_prompts=4, epochs=2), tmp_path / "two", taught)
    assert "one update" not in caplog.text


def test_what_cannot_work_is_said_before_anything_is_sampled(recipe, tmp_path, taught):
    def refused(asked, match):
        with pytest.raises(UserError, match=match):
            started(asked, tmp_path / "run", taught)
        assert RunFolder(tmp_path / "run").read_metrics() == []
        assert load_evaluations(tmp_path / "run" / "evaluations") == []

    (tmp_path / "broken.jsonl").write_text("{broken\n")
    refused(recipe(objective={"name": "gpo"}), "There is no objective 'gpo'")
    refused(recipe(objective={"name": "gppo", "params": {"epsilon_top": 0.3}}), "has no parameter 'epsilon_top'")
    refused(recipe(correction={"kind": "tis"}, old_logprobs="sampled"), "rl.old_logprobs")
    for broken, match in (("broken.jsonl", "none of its 1 rows"), ("nowhere.jsonl", "no such file")):
        stages = [{"name": "math", "data": tmp_path / broken, "steps": 1}]
        refused(recipe(stages=stages), match)
        asked = recipe()
        held_out = asked.evaluate.sets[0].model_copy(update={"data": tmp_path / broken})
        refused(asked.model_copy(update={"evaluate": asked.evaluate.model_copy(update={"sets": [held_out]})}), match)
