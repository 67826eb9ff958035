import numpy as np
import pytest

from gppo.policy import byte_tokenizer
from gppo.sft import encode_samples
from gppo.types import UserError


def turns(question, answer):
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_only_the_assistants_tokens_are_learned():
    tokenizer = byte_tokenizer()
    [sample], too_long = encode_samples(tokenizer, [turns("1+1=?", "2")], 99)
    assert too_long == 0
    assert sample.ids_L.dtype == np.int64
    learned = tokenizer.decode(sample.ids_L[sample.mask_L])
    assert learned == "2<|end|>"
    assert tokenizer.decode(sample.ids_L) == "<|user|>1+1=?<|end|><|assistant|>2<|end|>"


def test_samples_that_are_too_long_are_left_out_and_counted():
    tokenizer = byte_tokenizer()
    data = [turns("1", "2"), turns("1", "2" * 30), turns("1", "22"), turns("1", "2" * 40)]
    samples, too_long = encode_samples(tokenizer, data, 7)
    assert [len(sample.ids_L) for sample in samples] == [6, 7]
    assert too_long == 2
    with pytest.raises(UserError, match="all 4 samples are longer than 5 tokens"):
        encode_samples(tokenizer, data, 5)


def test_the_sample_that_the_template_cannot_tell_apart_is_named():
    tokenizer = byte_tokenizer()
    # As Qwen3's does: reasoning of earlier turns is taken out.
    tokenizer.chat_template = (
        "{% for m in messages %}<|{{ m.role }}|>"
        "{{ m.content if loop.last else m.content.split('</think>')[-1] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    two = turns("1", "<think>x</think>2") + turns("3", "<think>y</think>4")
    with pytest.raises(UserError, match=r"^sample 2 of 2: the chat template rewrites turn 2"):
        encode_samples(tokenizer, [turns("1", "<think>x</think>2"), two], 99)
