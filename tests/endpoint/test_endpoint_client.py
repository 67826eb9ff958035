"""The client against a real server that fails in every way: what is tried again, what is not, and what is said."""

import asyncio
import logging

import pytest
from endpoint_server import body, bomb, drip, endless, hang, hung_up, status, torn
from endpoint_world import LIMIT, PROBLEMS, settings

from gppo.rollout.openai import Budget, BudgetSpentError, Client, GaveUpError, RefusedError, backoff, chat_ask
from gppo.types import SamplingSettings, UserError

SAMPLING = SamplingSettings(temperature=0, max_tokens=LIMIT)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    monkeypatch.setattr(backoff, "FIRST", 0.001)


def question(config, index=0, sampling=SAMPLING):
    return chat_ask(config, PROBLEMS[index].id, 0, PROBLEMS[index].prompt, sampling, 0)


def ask(endpoint, **over):
    """The answer to the first problem, the client, and requests that cost without an answer."""
    config, lost = settings(endpoint.url, **over), []

    async def run():
        async with Client(config, Budget(config), lost.append) as client:
            return await client.ask(question(config)), client, lost

    return asyncio.run(run())


def test_an_answer(endpoint):
    answer, client, lost = ask(endpoint)
    assert answer.text == "<think>1+1</think>\\boxed{2}"  # what it was taught three times of four
    assert answer.finish_reason == "stop"
    assert answer.prompt_tokens == len("<user>") - 5 + len("1+1?") + 2  # a role's token, four bytes, end, role
    assert answer.response_tokens == len("1+1") + 2 + len("\\boxed{2}") + 1
    assert (client.retries, lost) == (0, [])
    [asked] = endpoint.asked
    assert (asked.path, asked.body["messages"]) == ("/v1/chat/completions", [dict(t) for t in PROBLEMS[0].prompt])
    assert "Authorization" not in asked.headers
    assert client.budget.spent.response == answer.response_tokens


@pytest.mark.parametrize(
    ("fault", "costs"),
    [
        (status(429), False),
        (status(429, Retry_After="0"), False),
        (status(408), False),
        (status(500), False),
        (status(502, "<html>"), False),
        (status(529), False),
        (body(b"<html>a proxy</html>"), True),
        (body(b'{"choices": []}'), True),
        (body({"choices": [{"message": {"content": "x"}, "finish_reason": "content_filter"}]}), True),
        (body(b"\xff"), True),
        (body(b"not gzip", Content_Encoding="gzip"), True),
        (torn, True),
        (hung_up, True),
        (endless, True),
        (bomb, True),
    ],
)
def test_what_may_pass_is_tried_again(endpoint, fault, costs):
    endpoint.fail(fault)
    answer, client, lost = ask(endpoint)
    assert answer.text == "<think>1+1</think>\\boxed{2}"
    assert client.retries == 1
    assert len(endpoint.asked) == 2
    # What may have been worked for is counted at its worst, and told.
    assert [(a.prompt_tokens, a.max_tokens) for a in lost] == ([(260, LIMIT)] if costs else [])
    assert client.budget.spent.response == answer.response_tokens + (LIMIT if costs else 0)


@pytest.mark.parametrize("fault", [hang, drip])
def test_a_server_that_does_not_end_is_left(endpoint, fault):
    endpoint.fail(fault)
    answer, client, lost = ask(endpoint, timeout=0.3)
    assert (answer.finish_reason, client.retries, len(lost)) == ("stop", 1, 1)


def test_a_body_is_read_no_further_than_an_answer_can_be(endpoint):
    endpoint.always = bomb
    with pytest.raises(GaveUpError, match=r"in 2 attempts; at last the answer is longer than 263,680 bytes"):
        ask(endpoint, attempts=2)


def test_what_a_server_asks_to_wait_is_waited(endpoint):
    endpoint.fail(status(429, Retry_After="0.4"))
    ask(endpoint)
    first, second = endpoint.asked
    assert second.time - first.time >= 0.4


def test_giving_up(endpoint):
    endpoint.always = status(503, "over capacity")
    with pytest.raises(GaveUpError) as error:
        ask(endpoint, attempts=3)
    assert str(error.value) == (
        f"{endpoint.url}: no answer to problem 1+1, sample 0, in 3 attempts; at last the server answered 503 (over "
        "capacity)"
    )
    assert len(endpoint.asked) == 3


def test_nobody_there():
    config = settings("http://127.0.0.1:1", attempts=2)

    async def run():
        async with Client(config, Budget(config)) as client:
            await client.ask(question(config))

    with pytest.raises(GaveUpError, match="in 2 attempts; at last the server cannot be reached"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("code", "of_request", "advice"),
    [
        (400, True, "change what the recipe sends, or leave the problem out"),
        (413, True, "change what the recipe sends, or leave the problem out"),
        (422, True, "change what the recipe sends, or leave the problem out"),
        (401, False, "name the variable that holds your key with api_key_env"),
        (402, False, "see to the account's balance"),
        (404, False, "check the endpoint's url, and that it has a model 'tiny'"),
        (302, False, "check the endpoint's url"),
        (501, False, "check the endpoint's url, and that it has a model 'tiny'"),
    ],
)
def test_what_cannot_change_is_asked_once(endpoint, code, of_request, advice):
    endpoint.always = status(code, "no.", Location="http://127.0.0.1:1/")
    with pytest.raises(RefusedError) as error:
        ask(endpoint)
    assert str(error.value) == (
        f"{endpoint.url}/chat/completions: refused problem 1+1 with status {code} (no); {advice}"
    )
    assert error.value.of_request is of_request
    assert len(endpoint.asked) == 1


def test_what_a_server_says_is_cut_to_a_line(endpoint):
    endpoint.always = body(b"\x1b[2J" + b"evil\r\n\0" * 10_000, code=400)
    with pytest.raises(RefusedError) as error:
        ask(endpoint)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 600


def test_the_key_is_sent_and_never_said(endpoint, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    endpoint.key = "sk-right-0"
    monkeypatch.setenv("GPPO_TEST_KEY", "sk-right-0\n")
    assert ask(endpoint, api_key_env="GPPO_TEST_KEY")[0].finish_reason == "stop"
    monkeypatch.setenv("GPPO_TEST_KEY", "sk-wrong-0")
    with pytest.raises(RefusedError) as error:
        ask(endpoint, api_key_env="GPPO_TEST_KEY")
    assert str(error.value).endswith("(Incorrect API key provided: ***); check the key in GPPO_TEST_KEY")
    assert "sk-" not in caplog.text


@pytest.mark.parametrize(("value", "why"), [("", "is not set"), ("a\nb", "no key has"), ("schlüssel", "no key has")])
def test_keys_that_cannot_be(endpoint, monkeypatch, value, why):
    monkeypatch.setenv("GPPO_TEST_KEY", value)
    with pytest.raises(UserError, match=f"GPPO_TEST_KEY .*{why}") as error:
        ask(endpoint, api_key_env="GPPO_TEST_KEY")
    assert not value or value not in str(error.value)
    assert endpoint.asked == []


def test_an_attempt_that_does_not_fit_the_budget_is_not_made(endpoint):
    endpoint.always = torn
    with pytest.raises(BudgetSpentError):
        ask(endpoint, budget={"tokens": 600})  # each at worst 260 + 24
    assert len(endpoint.asked) == 2


def test_a_server_that_does_not_count_is_counted_at_its_worst(endpoint):
    endpoint.counts = False
    answer, client, _ = ask(endpoint)
    assert (answer.prompt_tokens, answer.response_tokens) == (260, LIMIT)
    assert client.budget.spent.prompt == 260


def test_reasoning_that_a_server_takes_apart_comes_back_in_its_tags(endpoint):
    endpoint.reasoning = "reasoning_content"
    assert ask(endpoint)[0].text == "<think>\n1+1\n</think>\n\n\\boxed{2}"
