"""Sampling and judging sets: counts, what is never correct, and which draws a checkpoint meets."""

import numpy as np
import pytest
import torch

from gppo.config import EvaluateConfig, ModelConfig, Recipe, TinyConfig
from gppo.evaluate import load_evaluations
from gppo.evaluate.runner import evaluate
from gppo.evaluate.stage import run_eval
from gppo.policy import load_policy
from gppo.records import write_problems
from gppo.rollout import LocalSampler
from gppo.run import RunFolder
from gppo.types import Problem, Rollout, UserError, Verdict

SHAPE = TinyConfig(hidden_size=32, layers=2, heads=2, kv_heads=1)
SETS = [{"name": "heldout", "data": "unused.jsonl"}]


def tiny_policy(seed=0):
    torch.set_num_threads(1)  # quicker for so small a model
    return load_policy(ModelConfig(tiny=SHAPE, tokenizer="bytes", max_context=64), seed=seed)


@pytest.fixture(scope="module")
def policy():
    return tiny_policy()


def problems(count=3, name="p"):
    return [
        Problem(
            f"{name}{i}", ({"role": "user", "content": f"{i}+1=?"},), "math", str(i + 1), extra={"difficulty": "easy"}
        )
        for i in range(count)
    ]


def config(**over) -> EvaluateConfig:
    two_ways = [{"temperature": 1.0, "top_p": 1.0, "k": 2}, {"temperature": 0, "k": 1}]
    return EvaluateConfig.model_validate({"sets": SETS, "sampling": two_ways, "max_response_tokens": 8} | over)


class Scripted:
    """A sampler that says what it is told, by problem and sample, and notes what it was asked."""

    def __init__(self, *said: tuple[str, str]) -> None:
        self.said = said
        self.asked = []

    def generate(self, requests, settings, *, seed, step, on_finished=None):
        self.asked.append((settings, seed, step))
        texts = iter(self.said)
        rows = [[self._rollout(r, sample, *next(texts)) for sample in r.samples] for r in requests]
        for row in rows:
            for rollout in row:
                on_finished(rollout)
        return rows

    def _rollout(self, request, sample, text, finish_reason):
        ids = np.arange(len(text) + 1)
        return Rollout(request.problem_id, sample, request.prompt_ids, ids, ids * 0.0, text, finish_reason)


def by_text(cases):
    """The status that a response asks for; "infra" where it says so."""
    status = {"right": "correct", "infra": "infra"}
    return [Verdict(status.get(rollout.text.rpartition(" ")[2], "wrong"), 0.0) for _, rollout, _ in cases]


def one(policy, sampler, **over):
    asked = config(sampling=[{"temperature": 1.0, "top_p": 1.0, "k": 2}], **over)
    [found] = evaluate(policy, sampler, by_text, {"heldout": problems()}, asked, seed=0, step=7)
    return found


def test_counts(policy):
    said = [
        ("right", "stop"),
        ("no", "stop"),
        ("no", "length"),
        ("right", "length"),
        ("infra", "stop"),
        ("right", "stop"),
    ]
    found = one(policy, Scripted(*said))
    assert found.correct_PK.tolist() == [[True, False], [False, False], [False, True]]
    assert found.valid_PK.tolist() == [[True, True], [True, True], [False, True]]
    assert found.truncated_PK.tolist() == [[False, False], [True, True], [False, False]]
    assert found.lengths_PK.tolist() == [[6, 3], [3, 6], [6, 6]]
    assert found.problem_ids == ("p0", "p1", "p2")
    assert found.difficulty == ("easy",) * 3
    assert (found.step, found.name) == (7, "T=1")


def test_think_tags_count_where_they_are_asked_for(policy):
    said = [("<think>x</think> right", "stop"), ("right", "stop")] * 3
    assert one(policy, Scripted(*said)).correct_PK.all()
    assert one(policy, Scripted(*said), require_thinking=True).correct_PK.tolist() == [[True, False]] * 3


def test_unclosed_thinking_is_never_correct(policy):
    """Through the real judge: the released code counts such a box as right."""
    from gppo.verify.cases import CaseJudge

    said = [("<think>1 \\boxed{1}", "stop"), ("<think>1</think>\\boxed{1}", "stop")] * 3
    with CaseJudge() as judge:
        asked = config(sampling=[{"temperature": 1.0, "k": 2}])
        [found] = evaluate(policy, Scripted(*said), judge, {"heldout": problems()[:1]}, asked, seed=0, step=0)
    assert found.correct_PK.tolist() == [[False, True]]
    assert found.valid_PK.all()


def test_every_set_in_every_way_with_names_of_their_own(policy):
    sampler = LocalSampler(policy)
    single = evaluate(policy, sampler, by_text, {"heldout": problems()}, config(), seed=0, step=0)
    assert [(e.name, e.correct_PK.shape) for e in single] == [("T=1", (3, 2)), ("greedy", (3, 1))]
    sets = {"heldout": problems(), "other": problems(2, "q")}
    several = evaluate(policy, sampler, by_text, sets, config(), seed=0, step=0)
    assert [(e.name, e.correct_PK.shape) for e in several] == [
        ("heldout T=1", (3, 2)),
        ("heldout greedy", (3, 1)),
        ("other T=1", (2, 2)),
        ("other greedy", (2, 1)),
    ]
    assert several[0].sampling.max_tokens == 8
    assert (several[1].sampling.temperature, several[0].sampling.temperature) == (0, 1)


def test_draws_depend_on_the_seed_and_not_on_the_step():
    policy, seen = tiny_policy(), []

    def judge(cases):
        seen.append([rollout.response_ids.tolist() for _, rollout, _ in cases])
        return [Verdict("wrong", 0.0) for _ in cases]

    asked = config(sampling=[{"temperature": 1.0, "top_p": 1.0, "k": 2}])
    for seed, step in ((0, 0), (0, 60), (1, 0)):
        evaluate(policy, LocalSampler(policy), judge, {"heldout": problems()}, asked, seed=seed, step=step)
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]
    assert seen[0][0] != seen[0][1]


def test_progress_is_told_for_each_way(policy):
    told = []
    evaluate(
        policy,
        LocalSampler(policy),
        by_text,
        {"heldout": problems()},
        config(),
        seed=0,
        step=0,
        on_phase=lambda *what: told.append(what),
    )
    expected = [("evaluating T=1", i, 6) for i in range(1, 7)] + [("evaluating greedy", i, 3) for i in range(1, 4)]
    assert told == expected


def test_a_prompt_that_does_not_fit_is_named(policy):
    long = Problem("long", ({"role": "user", "content": "1" * 70},), "math", "1")
    with pytest.raises(UserError, match=r"evaluation 'T=1': the prompt of problem long does not fit .* 64 tokens"):
        evaluate(policy, LocalSampler(policy), by_text, {"x": [*problems(), long]}, config(), seed=0, step=0)


class TestStage:
    def recipe(self, tmp_path, **over):
        write_problems(tmp_path / "test.jsonl", problems(4))
        sets = [{"name": "heldout", "data": tmp_path / "test.jsonl", "limit": 3}]
        asked = config(sets=sets, **over)
        model = {"tiny": SHAPE, "tokenizer": "bytes", "max_context": 64}
        return Recipe.model_validate({"name": "x", "model": model, "evaluate": asked.model_dump()})

    def test_results_are_saved(self, tmp_path, policy, capsys):
        run = RunFolder.create(tmp_path / "run", "name: x\n")
        found = run_eval(self.recipe(tmp_path), run, policy, step=3)
        saved = load_evaluations(run.evaluations)
        assert [(e.name, e.step, e.correct_PK.shape) for e in saved] == [("T=1", 3, (3, 2)), ("greedy", 3, (3, 1))]
        assert [e.name for e in found] == ["T=1", "greedy"]
        assert "9 of 9" in capsys.readouterr().err

    def test_bad_rows_are_set_aside_and_a_set_without_good_ones_is_refused(self, tmp_path, policy):
        recipe = self.recipe(tmp_path)
        run = RunFolder.create(tmp_path / "run", "name: x\n")
        with (tmp_path / "test.jsonl").open("a") as file:
            file.write("{broken\n")
        assert run_eval(recipe, run, policy)[0].correct_PK.shape == (3, 2)
        assert '"line": 5' in (run.path / "quarantine" / "evaluate-heldout.jsonl").read_text()
        (tmp_path / "test.jsonl").write_text("{broken\n")
        with pytest.raises(UserError, match="none of its 1 rows can be used"):
            run_eval(recipe, run, policy)
