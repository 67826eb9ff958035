"""Bodies out, answers in: what is sent, what is believed, and what hostile text becomes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gppo.config import EndpointConfig
from gppo.rollout import seed_of
from gppo.rollout.openai import chat_ask, completion_ask, opened_in_text, read_answer
from gppo.rollout.openai.wire import BadAnswerError, with_thinking
from gppo.types import SamplingSettings

CONFIG = EndpointConfig(url="http://localhost:1/v1/", model="m")
SETTINGS = SamplingSettings(0.6, 0.95, 0, 50)
TURNS = ({"role": "system", "content": "né"}, {"role": "user", "content": "1+1?"})
CHAT = chat_ask(CONFIG, "p", 0, TURNS, SETTINGS, 7)
TOKENS = completion_ask(CONFIG, "p", 0, [3, 1, 2], SETTINGS, 7)


def raw(message=None, reason="stop", usage=None, **choice):
    content = {"choices": [{"message": message, "finish_reason": reason, **choice}]}
    return json.dumps(content | ({"usage": usage} if usage else {})).encode()


def test_bodies():
    sampling = {"model": "m", "max_tokens": 50, "temperature": 0.6, "top_p": 0.95, "seed": 7}
    assert CHAT.path == "/chat/completions"
    assert CHAT.body == {**sampling, "messages": [dict(turn) for turn in TURNS]}
    assert CHAT.prompt_tokens == 3 + 4 + 2 * 256  # bytes, and what a template may add to each of two turns
    assert (TOKENS.path, TOKENS.prompt_tokens) == ("/completions", 3)
    assert TOKENS.body == {**sampling, "prompt": [3, 1, 2]}
    top_k = completion_ask(CONFIG, "p", 0, [3], SamplingSettings(1.0, 1.0, 20, 5), 0)
    assert top_k.body["top_k"] == 20


def test_extra_keys_are_added_and_null_takes_one_out():
    extra = {"max_tokens": None, "max_completion_tokens": 50, "reasoning_effort": "high"}
    asked = chat_ask(CONFIG.model_copy(update={"extra": extra}), "p", 0, TURNS, SETTINGS, 7).body
    assert "max_tokens" not in asked
    assert (asked["max_completion_tokens"], asked["reasoning_effort"]) == (50, "high")


def test_a_key_changes_with_everything_that_is_asked():
    other = [
        chat_ask(CONFIG, "q", 0, TURNS, SETTINGS, 7),
        chat_ask(CONFIG, "p", 1, TURNS, SETTINGS, 7),
        chat_ask(CONFIG, "p", 0, TURNS[1:], SETTINGS, 7),
        chat_ask(CONFIG, "p", 0, TURNS, SamplingSettings(0.6, 0.95, 0, 51), 7),
        chat_ask(CONFIG, "p", 0, TURNS, SETTINGS, 8),
        chat_ask(CONFIG.model_copy(update={"model": "n"}), "p", 0, TURNS, SETTINGS, 7),
        TOKENS,
    ]
    assert len({ask.key for ask in [CHAT, *other]}) == len(other) + 1
    assert chat_ask(CONFIG, "p", 0, TURNS, SETTINGS, 7).key == CHAT.key


def test_seeds_are_31_bits_and_differ():
    seeds = {seed_of(s, t, name, k) for s in (0, 1) for t in (0, -1) for name in ("a", "b") for k in range(16)}
    assert len(seeds) == 2 * 2 * 2 * 16
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert seed_of(3, -1, "p", 2) == seed_of(3, -1, "p", 2)


def test_answers():
    usage = {"prompt_tokens": 11, "completion_tokens": 5}
    found = read_answer(raw({"content": "4"}, usage=usage), CHAT)
    assert (found.text, found.finish_reason) == ("4", "stop")
    assert (found.prompt_tokens, found.response_tokens, found.token_ids) == (11, 5, None)
    found = read_answer(raw(text="4", reason="length", token_ids=[9, 8]), TOKENS)
    assert (found.text, found.finish_reason, found.token_ids) == ("4", "length", (9, 8))


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_goes_in_front_of_the_answer(field):
    assert read_answer(raw({field: "\nhm\n", "content": "\n\n4"}), CHAT).text == "<think>\nhm\n</think>\n\n4"
    assert read_answer(raw({field: "hm", "content": None}, reason="length"), CHAT).text == "<think>\nhm"
    assert read_answer(raw({field: "hm", "content": ""}), CHAT).text == "<think>\nhm\n</think>\n\n"
    assert read_answer(raw({field: "", "content": "4"}), CHAT).text == "4"
    assert read_answer(raw({field: None, "content": "<think>a</think>4"}), CHAT).text == "<think>a</think>4"


def test_an_answer_cut_after_its_thinking_keeps_the_tag_closed():
    assert with_thinking("hm", "so 4", cut=True) == "<think>\nhm\n</think>\n\nso 4"


def test_a_tag_that_the_template_opened_is_put_back():
    assert opened_in_text("\nhm</think>4") == "<think>\nhm</think>4"
    for text in ("4", "<think>hm</think>4", "<think>hm"):
        assert opened_in_text(text) == text


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"<html>502</html>", "not JSON"),
        (b'{"choices": [{"mess', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"null", "no choices"),
        (b"[]", "no choices"),
        (b'{"choices": {}}', "no choices"),
        (b'{"choices": []}', "no choices"),
        (b'{"choices": [4]}', "no choices"),
        (raw("4"), "no message"),
        (raw({"content": 4}), "content is no text"),
        (raw({"content": "4", "reasoning_content": ["x"]}), "reasoning_content is no text"),
        (raw({"content": "4"}, reason="content_filter"), "content_filter"),
        (raw({"content": "4"}, reason=None), "None"),
        (raw({"content": "4"}, reason=["stop"]), "stop"),
    ],
)
def test_what_is_no_answer(body, why):
    with pytest.raises(BadAnswerError, match=why):
        read_answer(body, CHAT)


@pytest.mark.parametrize("count", [None, "5", -1, True, 1.5, 10**30, [5]])
def test_a_count_that_is_none_is_taken_at_its_worst(count):
    found = read_answer(raw({"content": "4"}, usage={"prompt_tokens": count, "completion_tokens": count}), CHAT)
    assert (found.prompt_tokens, found.response_tokens) == (CHAT.prompt_tokens, 50)
    content = json.loads(raw({"content": "4"})) | {"usage": [count]}
    assert read_answer(json.dumps(content).encode(), CHAT).response_tokens == 50


@pytest.mark.parametrize("ids", ["12", [1.5], [True], [-1], [2**31], list(range(51)), {"a": 1}])
def test_token_ids_that_are_none_are_left_out(ids):
    assert read_answer(raw(text="4", token_ids=ids), TOKENS).token_ids is None


def test_text_that_no_file_can_hold_is_mended():
    body = b'{"choices": [{"message": {"content": "a\\u0000b\\ud800c\\ud83d\\ude00"}, "finish_reason": "stop"}]}'
    assert read_answer(body, CHAT).text == "a\ufffdb\ufffdc\U0001f600"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda v: (
            st.lists(v)
            | st.dictionaries(
                st.sampled_from(
                    ["choices", "message", "content", "reasoning", "finish_reason", "usage", "prompt_tokens"]
                ),
                v,
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_an_answer_or_a_reason(content):
    try:
        found = read_answer(json.dumps(content).encode(), CHAT)
    except BadAnswerError:
        return
    found.text.encode()
    assert found.finish_reason in ("stop", "length")
