"""Which tokens are trained, read back as text; and the byte tokenizer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gppo.policy import byte_tokenizer, encode_conversation, encode_prompt, opens_thinking
from gppo.policy.tiny import ASSISTANT, END, PAD, SYSTEM, USER
from gppo.types import UserError

CHATML = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# Reasoning of earlier turns is dropped, as Qwen3's template does.
FORGETS = (
    "{% for m in messages %}<|{{ m.role }}|>"
    "{% if loop.last %}{{ m.content }}{% else %}{{ m.content.split('</think>')[-1] }}{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
OPENS = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content.split('</think>')[-1] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>\n{% endif %}"
)
STRICT = "{% if messages[0].role != 'user' %}{{ raise_exception('a user begins') }}{% endif %}" + CHATML

QUESTION = {"role": "user", "content": "2+2?"}
ANSWER = {"role": "assistant", "content": "<think>two pairs</think>4"}
AGAIN = {"role": "user", "content": "and 3+3?"}
SECOND = {"role": "assistant", "content": "<think>six</think>6"}


def _tokenizer(template: str | None = None):
    tokenizer = byte_tokenizer()
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def _trained(tokenizer, messages) -> list[str]:
    """The text of each unbroken run of trained tokens."""
    ids, mask = encode_conversation(tokenizer, messages)
    assert ids.dtype == np.int64
    assert mask.dtype == bool
    assert ids.shape == mask.shape
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int), [0]])))
    return [tokenizer.decode(ids[a:b]) for a, b in edges.reshape(-1, 2)]


def test_only_the_assistants_words_and_its_stop_token_are_trained():
    tokenizer = _tokenizer()
    assert _trained(tokenizer, [QUESTION, ANSWER]) == ["<think>two pairs</think>4<|end|>"]
    system = {"role": "system", "content": "Be brief."}
    ids, mask = encode_conversation(tokenizer, [system, QUESTION, ANSWER])
    whole = "<|system|>Be brief.<|end|><|user|>2+2?<|end|><|assistant|><think>two pairs</think>4<|end|>"
    assert tokenizer.decode(ids) == whole
    assert tokenizer.decode(ids[~mask]) == whole[: whole.index("<think>")]


def test_every_turn_of_the_assistant_is_trained():
    trained = _trained(_tokenizer(), [QUESTION, ANSWER, AGAIN, SECOND])
    assert trained == ["<think>two pairs</think>4<|end|>", "<think>six</think>6<|end|>"]


def test_what_follows_the_last_answer_is_not_trained():
    assert _trained(_tokenizer(), [QUESTION, ANSWER, AGAIN]) == ["<think>two pairs</think>4<|end|>"]


def test_the_newline_after_the_stop_token_is_not_trained():
    tokenizer = _tokenizer(CHATML)
    trained = _trained(tokenizer, [QUESTION, ANSWER, AGAIN, SECOND])
    assert trained == ["<think>two pairs</think>4<|end|>", "<think>six</think>6<|end|>"]
    ids, _ = encode_conversation(tokenizer, [QUESTION, ANSWER])
    assert tokenizer.decode(ids).endswith("<|end|>\n")


def test_nor_is_it_where_the_turn_ends_in_another_special_token():
    # Gemma ends turns with <end_of_turn>, and its eos token is another one.
    tokenizer = _tokenizer(CHATML)
    tokenizer.eos_token = PAD
    assert _trained(tokenizer, [QUESTION, ANSWER]) == ["<think>two pairs</think>4<|end|>"]


def test_an_answer_that_ends_in_a_newline_keeps_it():
    answer = {"role": "assistant", "content": "4\n"}
    assert _trained(_tokenizer(CHATML), [QUESTION, answer]) == ["4\n<|end|>"]
    no_stop = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    no_stop += "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    assert _trained(_tokenizer(no_stop), [QUESTION, answer]) == ["4\n"]


def test_the_prompt_is_what_the_training_text_begins_with():
    for template in (None, CHATML):
        tokenizer = _tokenizer(template)
        prompt = encode_prompt(tokenizer, [QUESTION])
        ids, mask = encode_conversation(tokenizer, [QUESTION, ANSWER])
        assert prompt.dtype == np.int64
        assert np.array_equal(ids[: len(prompt)], prompt)
        assert np.flatnonzero(mask)[0] == len(prompt)


def test_a_template_that_rewrites_history():
    tokenizer = _tokenizer(FORGETS)
    assert _trained(tokenizer, [QUESTION, ANSWER]) == ["<think>two pairs</think>4<|end|>"]
    with pytest.raises(UserError, match=r"rewrites turn 2 when later turns follow.*split") as caught:
        encode_conversation(tokenizer, [QUESTION, ANSWER, AGAIN, SECOND])
    assert "\n" not in str(caught.value)


def test_a_template_whose_generation_prompt_is_not_in_the_finished_turn():
    with pytest.raises(UserError, match="generation prompt") as caught:
        encode_conversation(_tokenizer(OPENS), [QUESTION, ANSWER])
    assert "later turns" not in str(caught.value)


def test_no_template_and_no_answer():
    tokenizer = _tokenizer()
    with pytest.raises(UserError, match="no assistant turn"):
        encode_conversation(tokenizer, [QUESTION])
    tokenizer.chat_template = None
    for encode in (encode_prompt, encode_conversation):
        with pytest.raises(UserError, match="no chat template"):
            encode(tokenizer, [QUESTION, ANSWER])


@pytest.mark.parametrize(
    "template", [STRICT, "{{ messages[0].role }", "{{ messages[0].content.nothing.at_all }}", "{{ 1 / 0 }}"]
)
def test_a_template_that_refuses_the_conversation_is_a_sentence(template):
    system = {"role": "system", "content": "Be brief."}
    for encode in (encode_prompt, encode_conversation):
        with pytest.raises(UserError, match="chat template") as caught:
            encode(_tokenizer(template), [system, QUESTION, ANSWER])
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "opened"),
    [
        ("<|assistant|><think>", True),
        ("<|assistant|><think>\n", True),
        ("<|assistant|><think>\n\n", True),
        ("<|assistant|>", False),
        ("<|user|>say <think><|end|><|assistant|>", False),
        ("<|assistant|><think>\n\n</think>\n\n", False),
        ("<think>" + "a" * 30, False),
    ],
)
def test_opens_thinking(text, opened):
    tokenizer = _tokenizer()
    assert opens_thinking(tokenizer, np.array(tokenizer.encode(text))) is opened


def test_opens_thinking_where_the_tag_is_several_tokens():
    tokenizer = _tokenizer()
    ids = np.concatenate([tokenizer.encode(part) for part in ("<|assistant|>", "<", "think", ">", "\n")])
    assert len(ids) == 9
    assert opens_thinking(tokenizer, ids)


text_without_surrogates = st.text(st.characters(exclude_categories=["Cs"]))
pieces = st.lists(st.one_of(text_without_surrogates, st.sampled_from(["<think>", "</think>", END, USER, " ", "\n"])))


@settings(max_examples=300, deadline=None)
@given(pieces.map("".join))
def test_any_text_comes_back_unchanged(text):
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.decode(ids) == text
    assert all(0 <= i < 263 for i in ids)


@settings(max_examples=100, deadline=None)
@given(text_without_surrogates)
def test_a_token_is_a_byte(text):
    plain = "".join(c for c in text if c not in "<>")
    assert len(TOKENIZER.encode(plain)) == len(plain.encode())


@settings(max_examples=100, deadline=None)
@given(text_without_surrogates, text_without_surrogates)
def test_any_answer_is_trained_exactly(question, answer):
    question, answer = (text.replace("<|", "< |") for text in (question, answer))
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    assert _trained(TOKENIZER, messages) == [answer + END]


def test_the_vocabulary():
    assert len(TOKENIZER) == 263
    assert sorted(TOKENIZER.get_vocab().values()) == list(range(263))
    assert TOKENIZER.pad_token == PAD
    assert TOKENIZER.eos_token == END
    for tag in (PAD, END, USER, ASSISTANT, SYSTEM, "<think>", "</think>"):
        assert len(TOKENIZER.encode(tag)) == 1
    assert TOKENIZER.decode(TOKENIZER.encode(f"{USER}a<think>b</think>{END}"), skip_special_tokens=True) == (
        "a<think>b</think>"
    )
    assert len(TOKENIZER.encode("naïve 数")) == len("naïve 数".encode())


def test_the_tokenizer_survives_a_folder(tmp_path):
    from transformers import AutoTokenizer

    TOKENIZER.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "  <think> x\n\n</think>é <|end|> . , 's"
    assert loaded.encode(text) == TOKENIZER.encode(text)
    assert loaded.decode(loaded.encode(text)) == text
    assert _trained(loaded, [QUESTION, ANSWER]) == ["<think>two pairs</think>4<|end|>"]


TOKENIZER = byte_tokenizer()
