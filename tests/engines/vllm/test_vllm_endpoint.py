"""Distillation and evaluation against vLLM's real server, killed in between."""

import json

import numpy as np
import pytest
import yaml
from chaos_kills import kill_as_it_grows
from endpoint_world import LIMIT, PROBLEMS

from gppo.config import DistillConfig, Recipe
from gppo.curate.distill import distill
from gppo.evaluate import load_evaluations
from gppo.evaluate.served import served_model
from gppo.evaluate.stage import run_eval
from gppo.policy import encode_prompt
from gppo.records import read_conversations, write_problems
from gppo.run import RunFolder
from gppo.types import Problem

pytestmark = pytest.mark.slow
SAMPLES = 16
WANTED = SAMPLES * len(PROBLEMS)
FIELDS = ("problem_ids", "correct_PK", "valid_PK", "lengths_PK", "truncated_PK")


def test_token_ids_are_the_prompt_and_the_server_s_template_makes_the_same(vllm, policy):
    for problem in PROBLEMS:
        ids = encode_prompt(policy.tokenizer, problem.prompt).tolist()
        asked = {"max_tokens": 1, "return_token_ids": True}
        assert vllm.ask("/completions", prompt=ids, **asked)["choices"][0]["prompt_token_ids"] == ids
        assert vllm.ask("/chat/completions", messages=list(problem.prompt), **asked)["prompt_token_ids"] == ids


def section(url, data, output, **over):
    at = {"url": url, "model": "tiny", "concurrency": 4} | over.pop("endpoint", {})
    content = {"problems": str(data), "output": str(output), "samples": SAMPLES, "temperature": 1.0, "top_p": 1.0}
    return content | {"max_response_tokens": LIMIT, "endpoint": at} | over


def test_distill_killed_again_and_again(vllm, commands, data, tmp_path):
    whole = DistillConfig.model_validate(section(vllm.url, data, tmp_path / "whole.jsonl"))
    found = distill(whole, RunFolder.create(tmp_path / "whole", "name: d\n"), seed=3)
    assert found.responses == WANTED
    assert found.verdicts["correct"] >= WANTED // 3  # taught right three times of four
    for c in read_conversations(tmp_path / "whole.jsonl"):  # the server took the thinking apart
        if c.extra["finish_reason"] == "stop" and c.extra["verdict"] != "unparsable":
            assert c.messages[-1]["content"].startswith("<think>\n")
    recipe = {"name": "d", "seed": 3, "run_dir": "run", "distill": section(vllm.url, data, "out.jsonl")}
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe))
    kills = kill_as_it_grows(commands, tmp_path, ["distill", "r.yaml"], "run/distill/answers.jsonl", 12)
    print(f"\n{kills} kills, {found.response_tokens} response tokens, verdicts {found.verdicts}")
    assert kills >= 3
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_budget_and_refusal(vllm, data, tmp_path):
    write_problems(data, [*PROBLEMS, Problem("long", ({"role": "user", "content": "x" * 70},), "math", "1")])
    run = RunFolder.create(tmp_path / "run", "name: d\n")
    small = section(vllm.url, data, tmp_path / "o.jsonl", endpoint={"budget": {"tokens": 1000}})
    first = distill(DistillConfig.model_validate(small), run, seed=3)
    assert first.ended == "budget"
    assert first.prompt_tokens + first.response_tokens <= 1000
    second = distill(DistillConfig.model_validate(section(vllm.url, data, tmp_path / "o.jsonl")), run, seed=3)
    assert (second.responses, second.missing) == (WANTED, SAMPLES)
    assert list(second.refused) == ["long"]
    assert "status 400" in second.refused["long"]


def recipe(vllm, model, data, folder, engine="openai", **endpoint):
    ways = [{"temperature": 0, "k": 1}, {"temperature": 1.0, "top_p": 0.95, "k": 64}]
    evaluate = {"sets": [{"name": "s", "data": str(data)}], "sampling": ways, "max_response_tokens": LIMIT}
    if engine == "openai":
        at = {"url": vllm.url, "model": "tiny", "concurrency": 4, **endpoint}
        evaluate |= {"engine": "openai", "endpoint": at, "batch_responses": 64}
    place = {"path": str(model), "max_context": 64}
    return {"name": "e", "seed": 3, "run_dir": str(folder), "model": place, "evaluate": evaluate}


def same(one, other):
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in FIELDS)


def said_in(run):
    """The text of every answer that a run keeps, by its key."""
    lines = map(json.loads, (run / "evaluations/answers.jsonl").read_text().splitlines())
    return {line["key"]: line.get("text") for line in lines}


def test_evaluation_is_the_local_engine_s_and_survives_kills(vllm, policy, model, data, commands, tmp_path):
    def score(folder, engine="openai", **endpoint):
        asked = Recipe.model_validate(recipe(vllm, model, data, folder, engine, **endpoint))
        subject = served_model(asked) if engine == "openai" else policy
        return {e.name: e for e in run_eval(asked, RunFolder.create(folder, "name: e\n"), subject)}

    here, there = score(tmp_path / "here", "local"), score(tmp_path / "there", extra={"return_token_ids": True})
    assert same(here["greedy"], there["greedy"])
    assert here["greedy"].correct_PK.any()
    drawn = "T=1 top-p 0.95"
    rates = [e[drawn].correct_PK.mean() for e in (here, there)]
    assert abs(rates[0] - rates[1]) < 0.16  # other random numbers, one distribution: four standard errors at most
    print(f"\nlocal {rates[0]:.3f}, vLLM {rates[1]:.3f} of {here[drawn].correct_PK.size} drawn responses right")
    (tmp_path / "r.yaml").write_text(
        yaml.safe_dump(recipe(vllm, model, data, tmp_path / "run", extra={"return_token_ids": True}))
    )
    kills = kill_as_it_grows(commands, tmp_path, ["eval", "r.yaml"], "run/evaluations/answers.jsonl", 12)
    print(f"{kills} kills")
    assert kills >= 2
    killed = {e.name: e for e in load_evaluations(tmp_path / "run/evaluations")}
    assert killed.keys() == there.keys()
    assert all(same(killed[name], there[name]) for name in there)
    assert said_in(tmp_path / "run") == said_in(tmp_path / "there")
