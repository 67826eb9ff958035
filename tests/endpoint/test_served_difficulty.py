"""The step ``difficulty`` with the model of a real server: rates, kills, budgets, refusals and failures."""

import json
import signal

import pytest
import yaml
from chaos_kills import kill_as_it_grows, said
from endpoint_server import body, hung_up, status
from endpoint_world import LIMIT, PROBLEMS
from pydantic import ValidationError

from gppo.config import CurateConfig, DifficultyConfig
from gppo.curate import curate, measured
from gppo.curate.dedup import asked, question_key
from gppo.records import read_problems, write_problems
from gppo.run import RunFolder
from gppo.types import GppoError, Problem, UserError, Verdict
from gppo.verify import verify

pytestmark = pytest.mark.usefixtures("no_waits")
K = 4
WANTED = K * len(PROBLEMS)
ANSWERS = "run/curation/answers-*.jsonl"


def long(name):
    """A problem that does not fit the server's context."""
    return Problem(name, ({"role": "user", "content": name * 60},), "math", "1")


@pytest.fixture
def step(endpoint):
    """step(...) is the step's part of a recipe; keys of ``server`` replace those of the server's."""

    def make(server=None, **over):
        at = {"url": endpoint.url, "model": "tiny", "concurrency": 3} | (server or {})
        return {"step": "difficulty", "k": K, "max_response_tokens": LIMIT, "endpoint": at} | over

    return make


@pytest.fixture
def labelled(data, tmp_path):
    """labelled(step) is the set with its labels, and what the step notes; a second call goes on in the same run."""

    def make(step, problems=PROBLEMS, name="set", run="run"):
        write_problems(data, problems)
        out = tmp_path / f"{name}.jsonl"
        source = {"name": "here", "data": str(data)}
        config = CurateConfig.model_validate({"name": name, "sources": [source], "steps": [step], "output": str(out)})
        found = curate(config, RunFolder.create(tmp_path / run, "name: c\n"), seed=3, device="cpu")
        return {p.id: p.extra for p in read_problems(out)}, found.funnel[-1].why

    return make


@pytest.fixture
def recipe(step, data, tmp_path):
    """recipe(name, ...) is a folder with a recipe; keys replace those of the server's."""

    def make(name, **server):
        folder = tmp_path / name
        folder.mkdir()
        sources, steps = [{"name": "here", "data": str(data)}], [step(server, problems_at_once=2)]
        sets = [{"name": "s", "sources": sources, "steps": steps, "output": "out.jsonl"}]
        (folder / "r.yaml").write_text(yaml.safe_dump({"name": "c", "seed": 3, "run_dir": "run", "curate": sets}))
        return folder

    return make


def answers(folder):
    """Every answer that is on disk."""
    return [json.loads(line) for path in folder.parent.glob(ANSWERS) for line in path.open() if line.endswith("\n")]


def test_the_share_of_right_answers_by_a_second_way(step, labelled, endpoint, tmp_path):
    again = Problem("again", ({"role": "user", "content": " 1+1?"},), "math", "2")  # the same question
    found, why = labelled(step(easy_from=0.25), [*PROBLEMS, again])
    assert {a.path for a in endpoint.asked} == {"/v1/chat/completions"}
    assert len({(str(a.body["messages"]), a.body["seed"]) for a in endpoint.asked}) == len(endpoint.asked) == WANTED
    rates = {name: extra["pass_rate"] for name, extra in found.items()}
    assert rates.pop("again") == rates["1+1"]
    for p in PROBLEMS:
        key = question_key(asked(p)).hex()
        mine = [answer for answer in answers(tmp_path / "run") if answer["problem"] == key]
        right = [a["finish_reason"] == "stop" and verify(p.ground_truth, a["text"]).correct for a in mine]
        assert (len(mine), sum(right) / K) == (K, rates[p.id])
    assert 0 < sum(rates.values()) < len(rates)  # taught right three times of four
    assert all(extra["hardness"] == ("easy" if extra["pass_rate"] >= 0.25 else "hard") for extra in found.values())
    easy = sum(extra["hardness"] == "easy" for extra in found.values())
    assert 0 < easy < 5
    assert why.endswith(f"; {easy} easy (a pass rate of 0.25 or more), {5 - easy} hard")


def test_what_was_answered_is_never_asked_for_again(step, labelled, endpoint):
    first, _ = labelled(step())
    assert labelled(step(easy_from=1.0))[0].keys() == first.keys()
    assert {n: e["pass_rate"] for n, e in labelled(step(), name="other set")[0].items()} == {
        n: e["pass_rate"] for n, e in first.items()
    }
    assert len(endpoint.asked) == WANTED
    labelled(step(k=K + 1))
    assert len(endpoint.asked) == WANTED + len(PROBLEMS)


def test_killed_again_and_again_it_ends_with_the_same_bytes(recipe, data, endpoint, commands):
    def bytes_of(folder):
        return [p.read_bytes() for p in (folder / "out.jsonl", folder / "run/curation/s/01-difficulty.jsonl")]

    write_problems(data, [PROBLEMS[0], long("a"), *PROBLEMS[1:]])
    whole = recipe("whole")
    assert commands.run(whole, "curate", "r.yaml") == 0, said(whole)
    endpoint.asked.clear()
    endpoint.seconds = 0.02
    folder = recipe("killed")
    kills = kill_as_it_grows(commands, folder, ["curate", "r.yaml"], ANSWERS, 5)
    assert kills >= 3
    assert len(endpoint.asked) <= WANTED + 3 + 6 * kills  # again only what was under way, and what was refused
    assert bytes_of(folder) == bytes_of(whole)


def test_ctrl_c_ends_it_at_once_and_what_came_is_kept(recipe, endpoint, commands):
    endpoint.seconds = 0.05
    folder = recipe("stopped")
    command = commands.start(folder, "curate", "r.yaml")
    assert command.wait_until(lambda: len(answers(folder / "run")) >= 4)
    assert command.kill(signal.SIGINT) == 130
    assert "Traceback" not in said(folder)
    kept = [answer for answer in answers(folder / "run") if answer["key"] != "lost"]
    assert 4 <= len(kept) < WANTED
    endpoint.asked.clear()
    assert commands.run(folder, "curate", "r.yaml") == 0, said(folder)
    assert len(endpoint.asked) == WANTED - len(kept)


def test_the_budget_ends_it_and_more_of_it_goes_on(step, labelled, endpoint, tmp_path):
    undisturbed, _ = labelled(step(), run="undisturbed")
    endpoint.asked.clear()
    worst = 4 + 256 + LIMIT  # a question's bytes, a template's most, the longest response
    with pytest.raises(GppoError, match=r"might pass the budget: .* of 400 tokens left; raise endpoint.budget and run"):
        labelled(step({"budget": {"tokens": 400}}))
    spent = sum(a["prompt_tokens"] + a["response_tokens"] for a in answers(tmp_path / "run"))
    assert 0 < spent <= 400 < spent + worst
    assert 0 < len(endpoint.asked) < WANTED
    assert labelled(step({"budget": {"tokens": 100_000}}))[0] == undisturbed
    assert len(endpoint.asked) == WANTED


def test_a_refused_question_has_no_rate_and_the_others_go_on(step, labelled, endpoint):
    plain, _ = labelled(step({"concurrency": 1}), run="plain")
    endpoint.asked.clear()
    long_ones = [long(name) for name in "abcdef"]
    # A batch of nothing else at the end, too: by then the server has shown that it answers.
    found, why = labelled(step({"concurrency": 1}, problems_at_once=5), [long_ones[0], *PROBLEMS, *long_ones[1:]])
    assert {name: found[name] for name in plain} == plain
    assert all("hardness" not in found[name] for name in "abcdef")
    assert len(endpoint.asked) == WANTED + 6
    assert "6 without a pass rate" in why
    assert "6 questions are refused by the server, at first: " in why
    assert "the context holds 64 tokens" in why


def test_everything_refused_is_an_error_and_nothing_is_kept_of_it(step, labelled, endpoint):
    problems = [Problem(f"p{i}", ({"role": "user", "content": f"{i}?"},), "math", "1") for i in range(6)]
    endpoint.always = status(400, "unknown parameter top_p")
    with pytest.raises(UserError, match=r"the server refuses every question: .*unknown parameter top_p"):
        labelled(step(), problems)
    endpoint.always = status(401, "bad key")
    with pytest.raises(UserError, match="bad key"):
        labelled(step(), problems)
    endpoint.always = None
    assert all("pass_rate" in extra for extra in labelled(step(), problems)[0].values())


@pytest.mark.parametrize("fault", [status(500), hung_up])
def test_a_request_that_fails_is_no_wrong_answer(step, labelled, endpoint, fault):
    undisturbed, _ = labelled(step(), run="undisturbed")
    endpoint.asked.clear()
    endpoint.fail(fault)
    assert labelled(step(), run="again")[0] == undisturbed  # asked a second time
    endpoint.fail(fault)
    with pytest.raises(GppoError, match=rf"{WANTED - 1} of {WANTED} responses of this batch are kept: .*run the same"):
        labelled(step({"attempts": 1}))
    endpoint.asked.clear()
    assert labelled(step({"attempts": 1}))[0] == undisturbed
    assert len(endpoint.asked) == 1


def test_a_judge_that_fails_is_no_wrong_answer(step, labelled, monkeypatch):
    undisturbed, _ = labelled(step(), run="undisturbed")
    real = measured.open_judge

    class Failing:
        def __init__(self, judge):
            self.judge = judge

        def __call__(self, cases):
            return [
                Verdict("infra", 0.0) if problem.ground_truth == "2" or said.sample else verdict
                for (problem, said, _), verdict in zip(cases, self.judge(cases), strict=True)
            ]

        def __enter__(self):
            self.judge.__enter__()
            return self

        def __exit__(self, *error):
            return self.judge.__exit__(*error)

    monkeypatch.setattr(measured, "open_judge", lambda config, seed: Failing(real(config, seed)))
    found, why = labelled(step())
    assert {name: extra.get("pass_rate") for name, extra in found.items() if name != "1+1"}.keys() < undisturbed.keys()
    assert {extra["pass_rate"] for name, extra in found.items() if name != "1+1"} <= {0.0, 1.0}  # of one response
    assert "pass_rate" not in found["1+1"]
    assert "1 without a pass rate" in why


def test_only_what_follows_the_thinking_is_the_answer(step, labelled, endpoint):
    plain, _ = labelled(step(), run="plain")
    endpoint.reasoning = "reasoning_content"
    assert labelled(step())[0] == plain
    said = ["\\boxed{7}</think>\\boxed{2}", "\\boxed{2}</think>I do not know"]
    endpoint.fail(*(body({"choices": [{"message": {"content": s}, "finish_reason": "stop"}]}) for s in said))
    found, _ = labelled(step({"concurrency": 1}, k=2), PROBLEMS[:1], run="opened")
    assert found["1+1"]["pass_rate"] == 0.5


def test_what_the_recipe_may_say(step):
    with pytest.raises(ValidationError, match="give exactly one of column, file, model and endpoint"):
        DifficultyConfig.model_validate(step(column="rate"))
    with pytest.raises(ValidationError, match="completions needs a tokenizer, which this step has not; write chat"):
        DifficultyConfig.model_validate(step({"api": "completions"}))


def test_a_key_that_is_missing_is_said_before_anything_is_begun(recipe, commands):
    folder = recipe("key", api_key_env="GPPO_TEST_KEY")
    assert commands.run(folder, "curate", "r.yaml") == 2
    assert "the environment variable GPPO_TEST_KEY is not set" in said(folder)
    assert not (folder / "run").exists()
