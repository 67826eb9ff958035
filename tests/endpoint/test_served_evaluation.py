"""``gppo eval`` of a model on a server: the local engine's prompts and judge, and the same scores."""

import json

import numpy as np
import pytest
import yaml
from chaos_kills import kill_as_it_grows, said
from endpoint_server import body, status
from endpoint_world import LIMIT, PROBLEMS

from gppo.config import Recipe
from gppo.evaluate import load_evaluations
from gppo.evaluate.served import served_model
from gppo.evaluate.stage import run_eval
from gppo.policy import encode_prompt
from gppo.rollout import Request, requests_for
from gppo.rollout.openai import UNKNOWN_TOKEN, OpenAISampler
from gppo.run import RunFolder
from gppo.types import GppoError, SamplingSettings, UserError

pytestmark = pytest.mark.usefixtures("no_waits")
GREEDY = {"temperature": 0, "k": 1}
DRAWN = {"temperature": 1.0, "top_p": 1.0, "k": 3}


@pytest.fixture
def content(endpoint, data, policy, tmp_path):
    """content(...) is a recipe; keys replace those of the server's."""
    policy.save(tmp_path / "model")

    def make(sampling=(GREEDY,), model=True, **server):
        at = {"url": endpoint.url, "model": "tiny", "concurrency": 3} | server
        evaluate = {"sets": [{"name": "s", "data": str(data)}], "sampling": list(sampling), "engine": "openai"}
        evaluate |= {"max_response_tokens": LIMIT, "endpoint": at, "batch_responses": 4}
        plain = {"name": "e", "seed": 3, "run_dir": str(tmp_path / "run"), "evaluate": evaluate}
        return plain | ({"model": {"path": str(tmp_path / "model"), "max_context": 64}} if model else {})

    return make


def score(plain, folder, policy=None):
    recipe = Recipe.model_validate(plain)
    return run_eval(recipe, RunFolder.create(folder, "name: e\n"), policy or served_model(recipe))


def local(plain):
    evaluate = {key: value for key, value in plain["evaluate"].items() if key not in ("engine", "endpoint")}
    return plain | {"evaluate": evaluate}


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("problem_ids", "correct_PK", "valid_PK", "lengths_PK", "truncated_PK")
    )


def test_prompts_are_the_local_engine_s_to_the_bit_and_so_are_greedy_scores(content, endpoint, policy, tmp_path):
    [here] = score(local(content()), tmp_path / "here", policy)
    [there] = score(content(extra={"return_token_ids": True}), tmp_path / "there")
    sent = [asked.body["prompt"] for asked in endpoint.asked]
    assert sorted(sent) == sorted(r.prompt_ids.tolist() for r in requests_for(policy.tokenizer, PROBLEMS, 1, 60)[0])
    assert {asked.path for asked in endpoint.asked} == {"/v1/completions"}
    assert same(here, there)
    assert here.correct_PK.any()
    endpoint.asked.clear()
    [chat] = score(content(api="chat"), tmp_path / "chat")
    assert {asked.path for asked in endpoint.asked} == {"/v1/chat/completions"}
    assert same(here, chat)


def test_without_a_model_section_the_server_makes_the_prompts(content, endpoint, tmp_path):
    [found] = score(content(model=False), tmp_path / "chat")
    assert {asked.path for asked in endpoint.asked} == {"/v1/chat/completions"}
    assert found.correct_PK.any()
    with pytest.raises(UserError, match="no section 'model'"):
        served_model(Recipe.model_validate(content(model=False, api="completions")))


def test_a_response_is_never_longer_than_the_context_has_room(content, endpoint, policy, tmp_path):
    plain = content()
    plain["model"]["max_context"] = 20
    score(plain, tmp_path / "short")
    prompts = {p.id: len(encode_prompt(policy.tokenizer, p.prompt)) for p in PROBLEMS}
    assert {asked.body["max_tokens"] for asked in endpoint.asked} == {20 - n for n in prompts.values()}


def test_killed_again_and_again_it_comes_to_the_same(content, endpoint, commands, tmp_path):
    plain = content([DRAWN, {**DRAWN, "temperature": 0.7}])
    whole = {e.name: e for e in score(plain, tmp_path / "whole")}
    endpoint.asked.clear()
    endpoint.seconds = 0.02
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(plain))
    kills = kill_as_it_grows(commands, tmp_path, ["eval", "r.yaml"], "run/evaluations/answers.jsonl", 5)
    assert kills >= 3
    assert len(endpoint.asked) <= 24 + 3 * kills
    found = {e.name: e for e in load_evaluations(tmp_path / "run" / "evaluations")}
    assert found.keys() == whole.keys()
    assert all(same(found[name], whole[name]) for name in whole)
    assert "T=0.7" in said(tmp_path)


def test_a_failed_response_is_no_score(content, endpoint, tmp_path):
    endpoint.fail(status(500), status(500))
    with pytest.raises(GppoError, match=r"3 of 4 responses of this batch are kept: .* answered 500 .*run the same"):
        score(content(attempts=2, concurrency=1), tmp_path / "run")
    [found] = score(content(), tmp_path / "run")
    assert found.valid_PK.all()
    assert len(endpoint.asked) == 2 + 4 - 1 + 1


def test_the_budget_ends_an_evaluation(content, endpoint, tmp_path):
    plain = content(budget={"tokens": 80}, concurrency=1)  # a prompt of 7 and at most 24 more
    with pytest.raises(GppoError, match=r"of 4 responses of this batch are kept, and the next might pass the budget: "):
        score(plain, tmp_path / "run")
    assert 0 < len(endpoint.asked) < 4


def test_another_server_or_model_is_another_evaluation(content):
    plain = [content(), content(url="http://127.0.0.1:1"), content(extra={"x": 1})]
    plain.append(content())
    plain[-1]["evaluate"]["endpoint"]["model"] = "larger"
    assert len({served_model(Recipe.model_validate(one)).fingerprint for one in plain}) == 4
    assert served_model(Recipe.model_validate(content(timeout=1.0))).fingerprint in {
        served_model(Recipe.model_validate(content())).fingerprint
    }


def test_tokens_that_the_server_does_not_give_are_as_many_as_it_counts(content, endpoint, tmp_path):
    config = Recipe.model_validate(content()).evaluate.endpoint
    request = Request("p", np.array([1, 2]), (0, 5))
    answers = [
        {"choices": [{"text": "a", "finish_reason": "stop"}], "usage": {"prompt_tokens": 2, "completion_tokens": 3}},
        {"choices": [{"text": "b", "finish_reason": "length"}], "usage": {"completion_tokens": 2**39}},
    ]
    endpoint.fail(*map(body, answers))
    told = []
    with OpenAISampler(config.model_copy(update={"concurrency": 1}), tmp_path / "a.jsonl") as sampler:
        [[one, two]] = sampler.generate(
            [request], SamplingSettings(max_tokens=9), seed=0, step=-1, on_finished=told.append
        )
    assert one.response_ids.tolist() == [UNKNOWN_TOKEN] * 3
    assert (one.text, one.sample, one.finish_reason) == ("a", 0, "stop")
    assert (len(two.response_ids), two.sample, two.truncated) == (9, 5, True)  # not the terabytes that it claims
    assert np.isnan(one.sampled_logprobs).all()
    assert [r.text for r in told] == ["a", "b"]
    assert json.loads((tmp_path / "a.jsonl").read_text().splitlines()[0])["problem"] == "p"
