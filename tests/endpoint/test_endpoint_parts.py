"""Back-off, Retry-After, the budget's arithmetic, and the part of a recipe that names a server."""

import asyncio
import random

import pytest
import yaml
from endpoint_world import settings

from gppo.config import EndpointConfig, dump_recipe, load_recipe
from gppo.rollout.openai import Budget, BudgetSpentError, completion_ask
from gppo.rollout.openai.backoff import delay, retry_after
from gppo.types import SamplingSettings, UserError


class Chance(random.Random):
    """Draws what it is told."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def random(self):
        return self.value


def test_waits_double_and_lose_up_to_half():
    assert [delay(i, None, Chance(1.0)) for i in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert [delay(i, None, Chance(0.0)) for i in range(3)] == [0.25, 0.5, 1]
    assert delay(10**6, None, Chance(1.0)) == 60


def test_what_the_server_asks_for_is_waited_and_a_little_more():
    assert delay(0, 7.0, Chance(0.0)) == 7.0
    assert delay(2, 7.0, Chance(0.5)) == 8.0  # half of 2 seconds more
    assert delay(0, 1e9, Chance(0.0)) == 900.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        (" 1.5 ", 1.5),
        ("-2", 0.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:01 GMT", 0.0),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after(value, now=10.0) == seconds


def ask(prompt=10, most=100):
    return completion_ask(settings("http://h"), "p", 0, list(range(prompt)), SamplingSettings(max_tokens=most), 0)


def test_the_worst_case_is_held_back_and_what_it_cost_takes_its_place():
    async def run():
        budget = Budget(settings("http://h", budget={"tokens": 220}))
        await budget.hold(ask())
        await budget.hold(ask())  # 220 of 220
        third = asyncio.create_task(budget.hold(ask()))
        await asyncio.sleep(0.01)
        assert not third.done()  # waits: those under way may be cheaper
        await budget.settle(ask(), 10, 30)
        await asyncio.sleep(0.01)
        assert not third.done()  # 40 + 110 + 110 is too much
        await budget.settle(ask(), 10, 60)
        await third  # 110 + 110 is just enough
        await budget.settle(ask(), 10, 1)
        with pytest.raises(BudgetSpentError):  # 121 + 110, and nothing under way
            await budget.hold(ask())
        await budget.hold(ask(10, 89))
        assert budget.left() == "99 of 220 tokens"

    asyncio.run(run())


def test_money_by_hand():
    async def run():
        budget = Budget(settings("http://h", price_in=2.0, price_out=8.0, budget={"money": 0.01}))
        budget.count(1000, 500)  # 0.002 + 0.004
        assert budget.money == pytest.approx(0.006)
        await budget.hold(ask(1000, 250))  # 0.002 + 0.002: just enough
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(budget.hold(ask(1, 1)), 0.01)
        await budget.settle(ask(1000, 250), 1000, 100)
        assert budget.left() == "0.0012 of 0.01 in money"
        with pytest.raises(BudgetSpentError):
            await budget.hold(ask(1, 151))

    asyncio.run(run())


RECIPE = {
    "name": "n",
    "distill": {"problems": "p.jsonl", "output": "o.jsonl", "endpoint": {"url": "http://h/v1/", "model": "m"}},
}


def recipe(tmp_path, **endpoint):
    content = yaml.safe_load(yaml.safe_dump(RECIPE))
    content["distill"]["endpoint"] |= endpoint
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_recipe(path)


def test_a_recipe_needs_no_model_and_comes_back_equal(tmp_path):
    extra = {"max_tokens": None, "chat_template_kwargs": {"enable_thinking": True}}
    found = recipe(tmp_path, extra=extra, budget={"tokens": 5})
    assert found.distill.endpoint.url == "http://h/v1"
    assert found.distill.endpoint.extra == extra
    (tmp_path / "again.yaml").write_text(dump_recipe(found))
    assert load_recipe(tmp_path / "again.yaml") == found


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"url": "localhost:8000"}, "write a web address"),
        ({"url": "ftp://h/v1"}, "write a web address"),
        ({"url": "http://me:secret-0@h/v1"}, "leave user, password and query out"),
        ({"url": "http://h/v1?key=secret-0"}, "leave user, password and query out"),
        ({"api_key_env": "sk-secret-0"}, "write the name of an environment variable"),
        ({"extra": {"n": 4}}, "'n' is set from other keys"),
        ({"extra": {"messages": None}}, "'messages' is set from other keys"),
        ({"budget": {"money": 1.0}}, "budget.money needs price_in and price_out"),
        ({"concurrency": 0}, "greater than or equal to 1"),
    ],
)
def test_mistakes_in_a_recipe(tmp_path, keys, why):
    with pytest.raises(UserError, match=why) as error:
        recipe(tmp_path, **keys)
    assert "secret-0" not in str(error.value)


def test_evaluation_names_a_server_exactly_where_its_engine_asks_one(tmp_path):
    sets = [{"name": "s", "data": "d.jsonl"}]
    server = {"url": "http://h", "model": "m"}
    for keys in ({"engine": "openai"}, {"endpoint": server}):
        (tmp_path / "r.yaml").write_text(yaml.safe_dump({"name": "n", "evaluate": {"sets": sets, **keys}}))
        with pytest.raises(UserError, match="engine openai and endpoint go together"):
            load_recipe(tmp_path / "r.yaml")
    assert EndpointConfig.model_validate(server).api is None
