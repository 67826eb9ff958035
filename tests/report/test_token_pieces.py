"""Token ids as text, and which rollouts the microscope takes."""

import json
from base64 import b64decode
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import CASES, VOCABULARY, make_run, pieces, row

from gppo.report.pieces import CONTINUED, Pieces, find_pieces, pieces_of
from gppo.report.tokens import Choice, choose_rollouts, dropped, log_ratio_of, page_data
from gppo.report.visible import visible
from gppo.run import write_rollouts
from gppo.types import UserError

BYTES = Pieces({byte: bytes([byte]) for byte in range(256)})


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bytes_join_to_the_text_that_can_be_seen(text):
    shown = BYTES.texts(text.encode())
    assert len(shown) == len(text.encode())
    assert "".join(shown).replace(CONTINUED, "") == visible(text).replace(CONTINUED, "")


@given(st.binary(max_size=12))
def test_any_bytes_give_one_text_each(raw):
    assert len(BYTES.texts(raw)) == len(raw)


def test_cut_characters_and_broken_bytes():
    assert BYTES.texts("é!".encode()) == ["é", CONTINUED, "!"]
    assert BYTES.texts(b"\xe6\x95a") == ["‹E6›", "‹95›", "a"]  # a character that never ends
    assert BYTES.texts(b"\xff\x80") == ["‹FF›", "‹80›"]
    assert Pieces({1: b" \xe6", 2: b"\x95\xb0x"}).texts([1, 2, 7]) == [" 数x", CONTINUED, "‹7›"]


def test_what_steers_or_hides_is_written_out():
    assert visible("a\x1b[2Jb\u202e\u200d\n\t") == "a‹U+001B›[2Jb‹U+202E›‹U+200D›\n\t"
    assert visible("naïve – 数 ✅") == "naïve – 数 ✅"


def test_byte_level_and_sentencepiece_vocabularies():
    bpe = {"model": {"vocab": {"Ġwait": 5, "Ċ": 6, "Ã": 7, "©": 8}}, "decoder": {"type": "ByteLevel"}}
    bpe["added_tokens"] = [{"id": 9, "content": "<|im_end|>"}]
    assert pieces_of(json.dumps(bpe)).texts([5, 6, 7, 8, 9]) == [" wait", "\n", "é", CONTINUED, "<|im_end|>"]
    decoder = {"type": "Sequence", "decoders": [{"type": "Replace"}, {"type": "ByteFallback"}]}
    unigram = {"model": {"vocab": [["▁so", -1.0], ["<0xC3>", -2.0], ["<0xA9>", -2.0]]}, "decoder": decoder}
    assert pieces_of(json.dumps(unigram)).texts([0, 1, 2]) == [" so", "é", CONTINUED]


def test_a_real_tokenizer_is_read_as_it_decodes():
    from gppo.policy.tiny import byte_tokenizer

    tokenizer = byte_tokenizer()
    text = "<think>31 + 4 = 35\nnaïve 数</think>\\boxed{35}"
    ids = [*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    found = pieces_of(tokenizer.backend_tokenizer.to_str()).texts(ids)
    assert "".join(found).replace(CONTINUED, "") == text + "<|end|>"
    assert found[0] == "<think>"


def test_the_newest_checkpoint_has_the_tokenizer(tmp_path):
    for step, word in ((8, "old"), (12, "new")):
        folder = tmp_path / "rl" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {word: 0}}}))
    assert find_pieces(tmp_path, {}).texts([0]) == ["new"]
    assert find_pieces(tmp_path / "none", {"tokenizer": str(tmp_path / "rl" / "step-000008")}).texts([0]) == ["old"]
    assert find_pieces(tmp_path / "none", {"tiny": {}, "tokenizer": "bytes"}).texts([0]) == ["!"]
    assert find_pieces(tmp_path / "none", {"path": "Qwen/none"}) is None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("tokens") / "run")


def test_arrays_hold_what_was_saved(run):
    chosen = choose_rollouts(run.rollouts, Choice())
    data = page_data(chosen, find_pieces(run.checkpoints, {}), {})
    ids = np.frombuffer(b64decode(data["tokens"]), "<u2")
    old, ratio, entropy = (np.frombuffer(b64decode(data[key]), "<f4") for key in ("old", "log_ratio", "entropy"))
    start = 0
    for about, saved in zip(data["rollouts"], chosen.rows, strict=True):
        part = slice(start, start + about["tokens"])
        start += about["tokens"]
        assert "".join(data["pieces"][i] for i in ids[part]).replace(CONTINUED, "") == visible(
            saved.response_text + ("<|end|>" if saved.extracted else "")
        )
        np.testing.assert_array_equal(old[part], saved.sampled_logprobs)
        if saved.update_logprobs is None:
            assert np.isnan(ratio[part]).all()
        else:
            np.testing.assert_array_equal(ratio[part], saved.update_logprobs - saved.sampled_logprobs)
            np.testing.assert_array_equal(entropy[part], saved.entropy)
    assert start == len(ids)
    assert len(VOCABULARY) > len(data["pieces"])
    assert data["run"]["first"] == int(np.argmax([dropped(saved) for saved in chosen.rows]))


def with_ratios(step, problem, sample, tokens, beyond, old=None):
    """A response with an advantage of 1, of whose tokens some lie above Clip-Higher's range."""
    zeros = np.zeros(tokens, np.float32)
    ratio = np.where(np.arange(tokens) < beyond, 0.5, 0.0).astype(np.float32)
    made = row(step, sample, problem, "1" * tokens, 1.0, "correct", None, {})
    update = (zeros if old is None else old) + ratio
    return replace(made, advantage=1.0, sampled_logprobs=zeros, old_logprobs=old, update_logprobs=update)


def test_ratios_are_against_the_old_logprobs_that_were_used():
    made = with_ratios(1, "p", 0, 3, beyond=1, old=np.float32([-2, -2, -2]))
    np.testing.assert_array_equal(log_ratio_of(made), np.float32([0.5, 0, 0]))
    assert dropped(made) == 1


def test_groups_that_lost_most_are_taken_whole(tmp_path):
    rows = [with_ratios(1, f"p{p}", sample, 10, beyond=p) for p in range(4) for sample in (0, 1)]
    write_rollouts(tmp_path, 1, rows)
    chosen = choose_rollouts(tmp_path, Choice(tokens=45))
    assert [(one.problem_id, one.sample) for one in chosen.rows] == [("p3", 0), ("p3", 1), ("p2", 0), ("p2", 1)]
    assert (chosen.responses, chosen.steps) == (8, 1)
    one = choose_rollouts(tmp_path, Choice(tokens=1)).rows
    assert [(row.problem_id, row.sample) for row in one] == [("p3", 0)]  # one response is shown in any case
    asked = choose_rollouts(tmp_path, Choice(problems=("p1",))).rows
    assert {row.problem_id for row in asked} == {"p1"}
    with pytest.raises(UserError, match="no rollout of nothing"):
        choose_rollouts(tmp_path, Choice(problems=("nothing",)))


def test_steps_are_spread_and_can_be_asked_for(tmp_path):
    for step in range(1, 31):
        write_rollouts(tmp_path, step, [with_ratios(step, "p", 0, 4, beyond=0)])
    spread = [row.step for row in choose_rollouts(tmp_path, Choice()).rows]
    assert (len(spread), spread[0], spread[-1]) == (8, 1, 30)
    assert [row.step for row in choose_rollouts(tmp_path, Choice(steps=(7, 3))).rows] == [3, 7]
    with pytest.raises(UserError, match="no such rollouts"):
        choose_rollouts(tmp_path, Choice(steps=(99,)))


def test_pieces_of_the_synthetic_run_are_words():
    assert b" Wait" in pieces(CASES[0][1])
