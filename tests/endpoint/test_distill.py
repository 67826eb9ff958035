"""Distillation from a real server: rows, verdicts, budgets, refusals, and what a second start asks for."""

import json
from collections import Counter
from concurrent.futures import Future

import pytest
from endpoint_server import body, status, torn
from endpoint_world import LIMIT, PROBLEMS

from gppo.config import DistillConfig
from gppo.curate import distill as distill_room
from gppo.curate.distill import distill, distill_table
from gppo.policy import encode_prompt
from gppo.records import read_conversations, write_problems
from gppo.rollout.openai import RefusedError
from gppo.run import RunFolder
from gppo.types import GppoError, Problem, UserError, Verdict
from gppo.verify import verify

pytestmark = pytest.mark.usefixtures("no_waits")
SAMPLES = 4
WANTED = SAMPLES * len(PROBLEMS)


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", "name: d\n")


@pytest.fixture
def asked_for(endpoint, data, tmp_path):
    """asked_for(...) is a recipe's section; keys of ``endpoint`` replace those of the server's."""

    def make(server=None, **over):
        at = {"url": endpoint.url, "model": "tiny", "concurrency": 4} | (server or {})
        content = {"problems": data, "output": tmp_path / "out.jsonl", "samples": SAMPLES, "temperature": 1.0}
        content |= {"top_p": 1.0, "max_response_tokens": LIMIT, "endpoint": at}
        return DistillConfig.model_validate(content | over)

    return make


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_in_order_with_where_they_come_from_and_what_they_are_worth(asked_for, run, endpoint):
    found = distill(asked_for(), run, seed=3)
    out = read_conversations(found.output)
    assert [c.id for c in out] == [f"{p.id}#{k}" for p in PROBLEMS for k in range(SAMPLES)]
    assert [c.messages[:-1] for c in out] == [p.prompt for p in PROBLEMS for _ in range(SAMPLES)]
    assert {c.source for c in out} == {"sums"}
    gold = {p.id: p.ground_truth for p in PROBLEMS}
    for c in out:
        assert (c.extra["teacher"], c.extra["difficulty"], c.extra["ability"]) == ("tiny", "easy", "math")
        if c.extra["finish_reason"] == "length":
            assert (c.extra["verdict"], c.extra["response_tokens"]) == ("unparsable", LIMIT)
        else:  # a second way: the judge called by hand on the row as it was written
            assert c.extra["verdict"] == verify(gold[c.extra["problem_id"]], c.messages[-1]["content"]).status
    counts = Counter(c.extra["verdict"] for c in out)
    assert dict(counts) == found.verdicts
    assert counts["correct"] >= 4  # taught right three times of four
    assert counts.total() - counts["correct"] >= 1
    for problem in PROBLEMS:
        mine = [c.extra for c in out if c.extra["problem_id"] == problem.id]
        assert {c["ground_truth"] for c in mine} == {problem.ground_truth}
        assert {c["pass_rate"] for c in mine} == {sum(c["verdict"] == "correct" for c in mine) / SAMPLES}
    rates = {row["id"]: row["pass_rate"] for row in rows(run.path / "distill" / "pass_rates.jsonl")}
    assert rates == {c.extra["problem_id"]: c.extra["pass_rate"] for c in out}
    assert endpoint.most_under_way <= 4
    assert found.response_tokens == sum(c.extra["response_tokens"] for c in out)
    [line] = run.read_metrics("distill")
    assert (line["responses"], line["ended"], line["verdicts"]) == (WANTED, "done", dict(counts))
    assert [row.strip() for row in distill_table(found).columns[1].cells][1] == f"{WANTED} of {WANTED}"


def test_seeds_differ_and_a_second_run_is_the_same(asked_for, run, endpoint, tmp_path):
    distill(asked_for(), run, seed=3)
    seeds = [asked.body["seed"] for asked in endpoint.asked]
    assert len(set(seeds)) == WANTED
    other = asked_for(output=tmp_path / "again.jsonl")
    distill(other, RunFolder.create(tmp_path / "other", "name: d\n"), seed=3)
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "out.jsonl").read_bytes()
    assert {asked.body["seed"] for asked in endpoint.asked[WANTED:]} == set(seeds)


def test_a_second_start_asks_for_what_is_missing(asked_for, run, endpoint, data):
    distill(asked_for(samples=2), run, seed=3)
    assert len(endpoint.asked) == 8
    distill(asked_for(), run, seed=3)
    assert len(endpoint.asked) == WANTED
    whole = (run.path.parent / "out.jsonl").read_bytes()
    distill(asked_for(), run, seed=3)
    assert len(endpoint.asked) == WANTED
    distill(asked_for(server={"concurrency": 1, "timeout": 5.0}), run, seed=3)  # how, not what
    assert len(endpoint.asked) == WANTED
    assert (run.path.parent / "out.jsonl").read_bytes() == whole
    distill(asked_for(temperature=0.5), run, seed=3)  # another request
    assert len(endpoint.asked) == 2 * WANTED


def test_a_line_cut_short_is_asked_for_again_and_a_damaged_one_is_named(asked_for, run, endpoint):
    distill(asked_for(), run, seed=3)
    answers, whole = run.path / "distill" / "answers.jsonl", (run.path.parent / "out.jsonl").read_bytes()
    answers.write_bytes(answers.read_bytes()[:-7])
    distill(asked_for(), run, seed=3)
    assert len(endpoint.asked) == WANTED + 1
    assert (run.path.parent / "out.jsonl").read_bytes() == whole
    lines = answers.read_bytes().splitlines(keepends=True)
    answers.write_bytes(b"".join([*lines[:2], b"\0\0\0\n", *lines[2:]]))
    with pytest.raises(GppoError, match=r"answers.jsonl: line 3 is damaged; remove it"):
        distill(asked_for(), run, seed=3)


def test_parquet_and_reasoning(asked_for, run, endpoint, tmp_path):
    endpoint.reasoning = "reasoning"
    found = distill(asked_for(output=tmp_path / "out.parquet"), run, seed=3)
    said = [c.messages[-1]["content"] for c in read_conversations(found.output) if c.extra["finish_reason"] == "stop"]
    assert found.verdicts["correct"] >= 4
    assert all(text.startswith("<think>\n") for text in said)


def test_token_ids_of_the_recipe_s_tokenizer(asked_for, run, endpoint, policy):
    found = distill(asked_for(server={"api": "completions"}, samples=1), run, seed=3, tokenizer=policy.tokenizer)
    sent = sorted(tuple(asked.body["prompt"]) for asked in endpoint.asked)
    assert sent == sorted(tuple(encode_prompt(policy.tokenizer, p.prompt).tolist()) for p in PROBLEMS)
    assert {asked.path for asked in endpoint.asked} == {"/v1/completions"}
    assert found.responses == len(PROBLEMS)


def test_the_budget_ends_it_before_it_is_passed_and_more_goes_on(asked_for, run, endpoint):
    """Each request is at worst 260 + 24 tokens, and costs about 7 + 16."""
    first = distill(asked_for(server={"budget": {"tokens": 400}}), run, seed=3)
    spent = first.prompt_tokens + first.response_tokens
    assert first.ended == "budget"
    assert 0 < first.responses < WANTED
    assert 400 - 284 < spent <= 400  # not one more would have fitted
    assert first.left == f"{400 - spent} of 400 tokens"
    assert first.complaint() == ""
    assert len(rows(first.output)) == first.responses
    same = distill(asked_for(server={"budget": {"tokens": 400}}), run, seed=3)
    assert (same.responses, len(endpoint.asked)) == (first.responses, first.responses)
    last = distill(asked_for(server={"budget": {"tokens": 40000}}), run, seed=3)
    assert (last.ended, last.responses, len(endpoint.asked)) == ("done", WANTED, WANTED)
    assert last.prompt_tokens + last.response_tokens > spent  # those of the first start count


def test_money_and_what_was_lost_count_over_starts(asked_for, run, endpoint):
    endpoint.fail(torn)
    server = {"price_in": 1.0, "price_out": 1000.0, "budget": {"money": 1.0}, "concurrency": 1}
    found = distill(asked_for(server=server, samples=1), run, seed=3)
    out = rows(found.output)
    paid = [row["extra_info"] for row in out]
    prompt = 260 + sum(row["prompt_tokens"] for row in paid)
    response = LIMIT + sum(row["response_tokens"] for row in paid)
    assert (found.prompt_tokens, found.response_tokens) == (prompt, response)
    assert found.money == pytest.approx((prompt + 1000 * response) / 1e6)
    again = distill(asked_for(server=server, samples=1), run, seed=3)
    assert again.money == pytest.approx(found.money)


def test_a_budget_for_nothing_says_so_and_leaves_an_older_output(asked_for, run, tmp_path):
    (tmp_path / "out.jsonl").write_text("older\n")
    with pytest.raises(UserError, match="the worst case of one request does not fit, 100 of 100 tokens are left"):
        distill(asked_for(server={"budget": {"tokens": 100}}), run, seed=3)
    assert (tmp_path / "out.jsonl").read_text() == "older\n"


def test_a_refused_problem_is_named_and_the_others_go_on(asked_for, run, endpoint, data):
    long = Problem("long", ({"role": "user", "content": "x" * 60},), "math", "1")
    write_problems(data, [PROBLEMS[0], long, *PROBLEMS[1:]])
    found = distill(asked_for(server={"concurrency": 1}), run, seed=3)
    assert (found.responses, found.missing) == (WANTED, SAMPLES)
    assert list(found.refused) == ["long"]
    assert len(endpoint.asked) == WANTED + 1  # a refused problem's other samples are not asked for
    assert found.complaint().startswith(f"{SAMPLES} of {WANTED + SAMPLES} responses are missing")
    assert "the context holds 64 tokens" in found.complaint()


def test_a_second_start_may_find_nothing_but_refused_problems(asked_for, run, data):
    long = [Problem(f"long{i}", ({"role": "user", "content": "x" * 60},), "math", "1") for i in range(6)]
    write_problems(data, [*PROBLEMS, *long])
    first = distill(asked_for(samples=1), run, seed=3)
    assert distill(asked_for(samples=1), run, seed=3).refused.keys() == first.refused.keys() == {p.id for p in long}


def test_everything_refused_ends_soon(asked_for, run, endpoint, data):
    write_problems(data, [Problem(f"p{i}", ({"role": "user", "content": "?"},), "math", "1") for i in range(40)])
    endpoint.always = status(400, "unknown parameter top_p")
    with pytest.raises(RefusedError, match="unknown parameter top_p"):
        distill(asked_for(samples=1), run, seed=3)
    assert len(endpoint.asked) <= 5 + 4
    endpoint.asked.clear()
    endpoint.always = status(401, "bad key")
    with pytest.raises(RefusedError, match="bad key"):
        distill(asked_for(samples=1), run, seed=3)
    assert len(endpoint.asked) <= 4


def test_a_server_that_is_gone_ends_it_and_one_bad_request_does_not(asked_for, run, endpoint):
    endpoint.fail(*[status(500)] * 2)
    found = distill(asked_for(server={"attempts": 2, "concurrency": 1}), run, seed=3)
    assert (found.responses, found.missing, len(found.given_up)) == (WANTED - 1, 1, 1)
    assert "the server answered 500" in found.complaint()
    endpoint.always = status(500)
    with pytest.raises(GppoError, match="see whether the server is well, and run the same command again"):
        distill(asked_for(server={"attempts": 2}, samples=16), run, seed=3)
    assert len(endpoint.asked) < 2 * WANTED + 40
    endpoint.always = None
    assert distill(asked_for(), run, seed=3).missing == 0


def test_a_judge_that_fails_is_never_a_wrong_answer(asked_for, run, endpoint, monkeypatch):
    class Failing(distill_room.stage.CaseJudge):
        def submit(self, problem, rollout, prompt_opened):
            if rollout.sample != 2:
                return super().submit(problem, rollout, prompt_opened)
            failed: Future[Verdict] = Future()
            failed.set_result(Verdict("infra", 0.0))
            return failed

    whole = distill(asked_for(), run, seed=3)
    (run.path / "distill" / "verdicts.jsonl").unlink()
    with monkeypatch.context() as patch:
        patch.setattr(distill_room.stage, "CaseJudge", Failing)
        found = distill(asked_for(), run, seed=3)
    third = [row["extra_info"] for row in rows(found.output)[2::SAMPLES]]
    assert {row["verdict"] for row in third if row["finish_reason"] == "stop"} == {"infra"}
    for i, row in enumerate(row["extra_info"] for row in rows(found.output)):
        mine = [r["extra_info"]["verdict"] for r in rows(found.output)[i // SAMPLES * SAMPLES :][:SAMPLES]]
        judged = [verdict for verdict in mine if verdict != "infra"]
        assert row["pass_rate"] == judged.count("correct") / len(judged)
    assert distill(asked_for(), run, seed=3).verdicts == whole.verdicts  # judged again, not asked again
    assert len(endpoint.asked) == WANTED


def test_tests_that_cannot_be_read_are_said(asked_for, run, data):
    write_problems(data, [Problem("c", PROBLEMS[0].prompt, "code", '{"inputs": "no list"}')])
    with pytest.raises(UserError, match="Problem 'c' cannot be judged"):
        distill(asked_for(), run, seed=3)


def test_programs_are_judged_by_their_tests(asked_for, run, endpoint, data):
    tests = json.dumps({"inputs": ["3\n"], "outputs": ["6\n"]})
    write_problems(data, [Problem("c", PROBLEMS[0].prompt, "code", tests)])
    said = "<think>x</think>```python\nprint(int(input()) * %d)\n```"
    choices = [{"choices": [{"message": {"content": said % by}, "finish_reason": "stop"}]} for by in (2, 3)]
    endpoint.fail(*map(body, choices))
    found = distill(asked_for(server={"concurrency": 1}, samples=2), run, seed=3)
    assert [row["extra_info"]["verdict"] for row in rows(found.output)] == ["correct", "wrong"]


def test_the_output_may_not_be_the_input(asked_for, run, data):
    with pytest.raises(UserError, match="is also read"):
        distill(asked_for(output=data), run, seed=0)
